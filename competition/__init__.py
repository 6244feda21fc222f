"""Kaggle's Digit Recognizer, done properly: read `pipeline.py` first."""
