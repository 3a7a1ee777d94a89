"""A health check for containers: ``healthy.py URL… [COMPONENT]``. Exit code 0 if every URL answers 200, else 1.

With COMPONENT, the answers must also say ``{"COMPONENT": {"status": "healthy"}}``, as Airflow's do.
Standard library only: it runs in every image that has Python.
"""

import json
import sys
import urllib.error
import urllib.request

ANSWER_S = 25.0


def complaint(url: str, component: str) -> str:
    """Return what is wrong with an answer, or nothing."""
    try:
        # An answer other than 2xx is raised as an error; its body says why.
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:  # noqa: S310
            body = answer.read()
        if component and (status := json.loads(body)[component]["status"]) != "healthy":
            return f"{url}: {component} is {status}"
    except urllib.error.HTTPError as error:
        return f"{url}: {error.code} {error.read(2000).decode(errors='replace')}"
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"{url}: {type(error).__name__} {error}"
    return ""


def main(words: list[str]) -> int:
    """Check all; return the exit code."""
    urls = [word for word in words if word.startswith("http://")]
    components = [word for word in words if word not in urls]
    if not urls or len(components) > 1:
        print(__doc__, file=sys.stderr)
        return 1
    complaints = [line for url in urls if (line := complaint(url, "".join(components)))]
    print("\n".join(complaints) or "healthy")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
