"""Members, and where they run → one answer and what it is worth.

Enters: digits and a recipe. Leaves: the averaged probabilities, an honest score of them, and the labels that they give
to other digits.
"""
