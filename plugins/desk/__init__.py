"""What Countersign adds to the Airflow UI: the reports, for people who are logged in."""
