"""Find out whether a training resumes exactly: `python -m camshaft.deterministic audit my_script:make_run`."""

import sys

from camshaft.deterministic._command import main

if __name__ == "__main__":
    sys.exit(main())
