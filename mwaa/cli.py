"""The command line: build, try out, upload, secrets, template."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mwaa import kafka_rights, package, secret_store, trial, upload
from mwaa.bucket import Bucket
from mwaa.errors import MwaaError

PARAMETERS = {
    package.PLUGINS: "PluginsVersion",
    package.REQUIREMENTS: "RequirementsVersion",
    package.STARTUP: "StartupVersion",
}
"""What the template calls the version of each file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 not done and why, 2 not understood, 3 there are differences."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except MwaaError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return code


def _build(options: argparse.Namespace) -> int:
    sums = package.build(target=options.target)
    for name, checksum in sums.items():
        print(f"{checksum[:12]}  {name}")
    print(f"package {sums[package.CHECKSUMS][:12]} in {options.target}")
    return 0


def _trial(options: argparse.Namespace) -> int:
    outcome = trial.run(options.folder)
    found = outcome.found
    print(f"startup.sh: {outcome.startup_s:.1f} s of {trial.STARTUP_LIMIT_S}")
    print(
        f"requirements.txt: {outcome.install_s:.0f} s of {trial.INSTALL_LIMIT_S}; {outcome.added} packages beside the "
        f"{outcome.before} that MWAA has, none of which changed"
    )
    print(f"Airflow {found['airflow']}: {len(found['dags'])} DAGs, {found['imported']} modules of ours imported")
    for name, error in found["import_errors"].items():
        print(f"{name}: {error}", file=sys.stderr)
    return 1 if found["import_errors"] or found["elsewhere"] or not found["dags"] else 0


def _upload(options: argparse.Namespace) -> int:
    files = upload.read(options.package)
    bucket = Bucket(options.bucket)
    bucket.check()
    differences = upload.compare(bucket, files)
    for each in differences:
        if each.fate != "same":
            kept = "" if each.fate != "gone" or options.delete else " (stays; --delete removes it)"
            print(f"{each.fate:8}{each.name}{kept}")
    todo = [each for each in differences if each.fate in ("new", "changed") or (each.fate == "gone" and options.delete)]
    print(f"{sum(each.fate == 'same' for each in differences)} of {len(files)} files are there already")
    if options.dry_run:
        return 3 if todo else 0

    def tell(versions: Mapping[str, str]) -> None:
        for name, parameter in PARAMETERS.items():
            print(f"{parameter}={versions[name]}")
        if options.update:
            upload.update(options.update, bucket.name, versions, poll_s=options.poll)

    upload.send(bucket, files, differences, delete=options.delete, between=tell)
    print(f"s3://{bucket.name} has the package")
    return 0


def _template(options: argparse.Namespace) -> int:
    there = kafka_rights.TEMPLATE.read_text()
    if there == kafka_rights.within(there):
        return 0
    if options.check:
        raise MwaaError("mwaa/template.yaml is not what the registry of topics says: run `python -m mwaa template`")
    kafka_rights.TEMPLATE.write_text(kafka_rights.within(there))
    return 0


def _secrets_example(options: argparse.Namespace) -> int:
    print(json.dumps(secret_store.example(), indent=2, ensure_ascii=False))
    return 0


def _secrets_list(options: argparse.Namespace) -> int:
    for each in secret_store.CONNECTIONS:
        print(f"{each.name:30} {', '.join(each.needed)}: {each.meaning}")
    print(f"{secret_store.KEY_NAME:30} a text: masks personal data in the lake; made at random by `secrets create`")
    return 0


def _secrets_create(options: argparse.Namespace) -> int:
    try:
        text = sys.stdin.read() if options.values == "-" else Path(options.values).read_text()
        values = json.loads(text)
    except OSError as error:
        raise MwaaError(f"{options.values}: {error.strerror}") from error
    except ValueError as error:
        # The error of the parser may cite the line, and with it a secret.
        raise MwaaError(f"{options.values}: no JSON, at line {getattr(error, 'lineno', '?')}") from None
    for name, done in secret_store.create(values, replace=options.replace).items():
        print(f"{done:10}{name}")
    return 0


def _secrets_check(options: argparse.Namespace) -> int:
    found = secret_store.check()
    for name, wrong in found.items():
        print(f"{name:30} {wrong or 'ok'}")
    return 1 if any(found.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mwaa", description="The package for Amazon MWAA; see docs/mwaa.md."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    build = commands.add_parser("build", help="make the package (`make mwaa`)")
    build.add_argument("--target", type=Path, default=package.PACKAGE, help="folder that is made anew (%(default)s)")
    build.set_defaults(command=_build)

    tried = commands.add_parser(
        "trial", help="install the package in a new environment, as MWAA does (`make mwaa-test`)"
    )
    tried.add_argument("--folder", type=Path, default=package.ROOT / "build" / "mwaa-trial", help="(%(default)s)")
    tried.set_defaults(command=_trial)

    sent = commands.add_parser("upload", help="bring the package into the bucket of an environment")
    sent.add_argument("bucket", help="name of the bucket")
    sent.add_argument("--package", type=Path, default=package.PACKAGE, help="(%(default)s)")
    sent.add_argument("--dry-run", action="store_true", help="only say what differs; exit code 3 if something does")
    sent.add_argument("--delete", action="store_true", help="remove files of dags/ that the package does not have")
    sent.add_argument(
        "--update", metavar="ENVIRONMENT", help="give this environment the new versions, DAG files after it"
    )
    sent.add_argument("--poll", type=float, default=30, help="seconds between two looks at that (%(default)s)")
    sent.set_defaults(command=_upload)

    written = commands.add_parser("template", help="write the rights on Kafka into mwaa/template.yaml")
    written.add_argument("--check", action="store_true", help="only say whether they differ")
    written.set_defaults(command=_template)

    kept = commands.add_parser("secrets", help="what the DAGs want from AWS Secrets Manager")
    kinds = kept.add_subparsers(required=True, metavar="WHAT")
    kinds.add_parser("list", help="which secrets, and their fields").set_defaults(command=_secrets_list)
    kinds.add_parser("example", help="a file for `create`, to fill in").set_defaults(command=_secrets_example)
    kinds.add_parser("check", help="whether all are there and usable; prints no value").set_defaults(
        command=_secrets_check
    )
    made = kinds.add_parser("create", help="create those that are missing; prints no value")
    made.add_argument("values", help="JSON file as of `example`, filled in; - is standard input")
    made.add_argument("--replace", action="store_true", help="give connections that are there a new version")
    made.set_defaults(command=_secrets_create)
    return parser
