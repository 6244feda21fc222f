"""Draw the embedded sample from the real train.csv: python input/sample/draw.py path/to/train.csv

6,000 training and 2,000 test digits, stratified, no row twice; the order is random. The 2,000 true labels go
into test_labels.csv. The same train.csv gives the same bytes.
"""

import gzip
import sys
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

here = Path(__file__).parent
rows = pd.read_csv(sys.argv[1])
train, test = train_test_split(rows, train_size=6000, test_size=2000, stratify=rows["label"], random_state=2012)
answers = pd.DataFrame({"ImageId": range(1, len(test) + 1), "Label": test["label"].to_numpy()})


def save(name: str, frame: pd.DataFrame) -> None:
    text = frame.to_csv(index=False, lineterminator="\r\n").encode()
    (here / name).write_bytes(gzip.compress(text, mtime=0) if name.endswith(".gz") else text)


save("train.csv.gz", train)
save("test.csv.gz", test.drop(columns="label"))
save("test_labels.csv", answers)
