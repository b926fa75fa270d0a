"""Make the checkout importable as hafailover.*, as bin/hafailover does."""

import pathlib
import sys
from types import ModuleType

package = sys.modules.setdefault("hafailover", ModuleType("hafailover"))
package.__path__ = [str(pathlib.Path(__file__).resolve().parent.parent)]
