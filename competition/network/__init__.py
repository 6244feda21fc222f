"""Digits → one trained member of the ensemble.

Enters: the rows that teach a member and its settings. Leaves: its weights, and what it says of the rows that it never
saw. The only room that computes with Keras, and in it `device` alone touches what lies below Keras.
"""
