"""Digits → one trained member of the ensemble.

Enters: a member's rows and settings. Leaves: its weights, and its predictions of rows that it was not trained on.
This is the only room that computes with Keras, and `device` the only module that touches the backend below Keras.
"""
