"""Where a kernel gets the package from: one of these cells stands in place of the other templates' `# %% package`."""

# ruff: noqa: E402

# %% packed
# The package `competition`: its files as a zip archive, in base64.
PACKED = ""

import base64
import io
import os
import sys
import tempfile
import zipfile

package = tempfile.mkdtemp()
zipfile.ZipFile(io.BytesIO(base64.b64decode(PACKED))).extractall(package)
sys.path.insert(0, package)
os.environ["PYTHONPATH"] = package  # for the processes that train

# %% attached
# The package `competition`: its source lies in the attached dataset, to be read there.
import os
import sys
from pathlib import Path

found = next(Path("../input").resolve().rglob("competition/__init__.py"), None)
if found is None:
    raise FileNotFoundError(
        "The dataset with the package must be attached: Add Input, Datasets, the one of this kernel."
    )
package = str(found.parents[1])
sys.path.insert(0, package)
os.environ["PYTHONPATH"] = package  # for the processes that train
