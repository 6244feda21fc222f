"""A finished run → pages and figures to look at.

Enters: what a run kept, and the digits that it was made from. Leaves: self-contained HTML and PNG files.
"""
