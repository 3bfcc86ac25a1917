"""Run with the Python of the applications: the tests of the modules that the arguments name, and how each ended.

python unittest_outcomes.py OUTCOMES.json MODULE…
"""

import json
import sys
import unittest
from collections import Counter
from pathlib import Path

outcomes, seen = {}, Counter()


class Outcomes(unittest.TextTestResult):
    """Keeps how each test ended, by its name, and by its number where several have one name."""

    def told(self):
        return {how: len(getattr(self, how)) for how in ("failures", "errors", "skipped")}

    def startTest(self, test):  # noqa: N802, as unittest calls it
        seen[test.id()] += 1
        self.before = self.told()
        super().startTest(test)

    def stopTest(self, test):  # noqa: N802
        super().stopTest(test)
        ended = [how for how, count in self.told().items() if count > self.before[how]]
        outcomes[f"{test.id()} {seen[test.id()]}"] = ", ".join(ended) or "passed"


target, *modules = sys.argv[1:]
suite = unittest.defaultTestLoader.loadTestsFromNames(modules)
unittest.TextTestRunner(resultclass=Outcomes, verbosity=2).run(suite)
Path(target).write_text(json.dumps(outcomes, indent=1, sort_keys=True))
