"""All that talks to Kaggle: download, submission, leaderboard, kernel.

Everything goes through Kaggle's own command line, as a subprocess; nothing is sent without a command of the user's.
"""
