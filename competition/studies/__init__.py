"""An idea → whether it helps, and a prediction → whether it holds.

Enters: settings to compare, or competitions made of train.csv. Leaves: tables and pages with confidence intervals.
Nothing below needs this room, and no Kaggle kernel carries it.
"""
