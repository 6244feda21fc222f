"""The disk: whole files or none, where things lie, and what a run keeps; no digit and no network is known here.

Enters: what a run is made from and what its members leave behind. Leaves: run folders that a killed process cannot
damage, rows of history.csv and record.csv, and the hash of the code that made them.
"""
