"""The linear array (CGLA, IMAX3 class): loop bodies placed into rows and routed through row registers."""
