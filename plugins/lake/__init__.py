"""The batch half: landing, quality gate, reconciliation, report. Imported by tasks, never at DAG parse time."""
