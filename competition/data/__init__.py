"""CSV, zip, picture or MNIST file → checked digits.

Enters: files that anybody may have written. Leaves: uint8 arrays (n, 28, 28, 1) whose every value was looked at, with
a hash of their content that says where they come from.
"""
