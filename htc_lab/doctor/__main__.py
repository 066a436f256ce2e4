"""``python -m htc_lab.doctor [--json]``: the doctor, without imports that could be missing."""

import json
import sys

from htc_lab.doctor import as_dict, as_text, examine


def main() -> None:
    """Print the findings; exit code 1 if something is wrong."""
    findings = examine()
    print(json.dumps(as_dict(findings), indent=1) if "--json" in sys.argv[1:] else as_text(findings))
    sys.exit(any(finding.state == "wrong" for finding in findings))


if __name__ == "__main__":
    main()
