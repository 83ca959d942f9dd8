"""What a mapping must satisfy and what it moves, derived a second time from the definitions alone.

Nothing here is shared with the planning side: not the closed-form traffic, not the cost, no backend.
"""
