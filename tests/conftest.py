"""Tests neither use nor fill the user's kept answers."""

import os

os.environ["MAPPER_CACHE"] = "off"
