"""How agents are compared: runs, budgets, jobs, evaluation, statistics and tables."""

import importlib.util
from pathlib import Path


def _check_packages() -> None:
    """Raise ImportError if `agents` or `envs` would come from elsewhere: both names exist on PyPI, too."""
    root = Path(__file__).resolve().parent.parent
    for name in ("agents", "envs"):
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin != root / name / "__init__.py":
            raise ImportError(
                f"the package {name!r} that Python finds is {origin}, not {root / name}: this program needs "
                f"an environment of its own. Run it from {root}, and if need be: pip uninstall {name}"
            )


_check_packages()
