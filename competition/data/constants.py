"""What is known of the competition itself."""

COMPETITION = "digit-recognizer"
PAGE = f"https://www.kaggle.com/competitions/{COMPETITION}"
RULES = f"{PAGE}/rules"
TRAIN, TEST, EXAMPLE = FILES = ("train.csv", "test.csv", "sample_submission.csv")  # in Kaggle's zip
TEST_ROWS = 28_000
SAMPLE_ROWS = 2_000  # test digits of the embedded sample
PIXELS = [f"pixel{i}" for i in range(784)]  # the columns' names

REAL = "kaggle"  # the source of the competition's own digits
# sha256 of the parsed content (see `digits.content_hash`): what pixels and labels are, whatever the file's line ends.
KNOWN_CONTENT = {
    "5014e79dcba7776e7b1b6481b68eaf086bf1b6dd225ec8bc18c3dade05047cf1": REAL,  # train.csv
    "c8eadeb442ebf0f9eb1d8705b05388c5f74ed5a5bfaf8ef58e648ecdcf17772b": REAL,  # test.csv
    "ebb41d0231748b856e179e7295dc1653964513b5c3b147d8f15172479dfdd569": "sample",  # train.csv.gz
    "14874a4eab14edb964127c3ebcf3948be0effbcb997e694b4ef0c82ece802ff0": "sample",  # test.csv.gz
}
