"""Run with the Python of the applications: the tests of the modules that the arguments name, and how each ended.

python unittest_outcomes.py OUTCOMES.json MODULE…
"""

import json
import sys
import unittest
from pathlib import Path

outcomes = {}


class Outcomes(unittest.TextTestResult):
    """Keeps how each test ended, by its name."""

    def startTest(self, test):  # noqa: N802, as unittest calls it
        outcomes[test.id()] = "passed"
        super().startTest(test)

    def stopTest(self, test):  # noqa: N802
        super().stopTest(test)
        for how in ("failures", "errors", "skipped"):
            # A subtest's id begins with its test's.
            if any(one.id().startswith(test.id()) for one, _ in getattr(self, how)):
                outcomes[test.id()] = how


target, *modules = sys.argv[1:]
suite = unittest.defaultTestLoader.loadTestsFromNames(modules)
unittest.TextTestRunner(resultclass=Outcomes, verbosity=2).run(suite)
Path(target).write_text(json.dumps(outcomes, indent=1, sort_keys=True))
