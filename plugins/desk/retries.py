"""How the tasks of all DAGs are tried again. Light: every DAG file imports it."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

RETRIES: Mapping[str, Any] = MappingProxyType(
    {
        "retries": 3,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=5),
        # What repeating cannot mend fails at once; all else (a system away or throttling, a conflict) is tried again.
        "retry_policy": ExceptionRetryPolicy(
            rules=[RetryRule(exception="lake.errors.Hopeless", action=RetryAction.FAIL)]
        ),
    }
)
"""For ``default_args``. Naming this one light error is what keeps the parsing of DAG files quick (decision 0033)."""
