"""PySpark in local mode: as :mod:`benchmarks.batch.with_pandas`, with Spark's own joins and windows; ``… IN OUT``."""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f

WINDOWS_S = {"1h": 3_600.0, "1d": 86_400.0, "7d": 604_800.0, "30d": 2_592_000.0}
ENTITIES = {"customer": "customer_id", "device": "device_id", "ip": "ip"}
MAX_DISTINCT = 16


def session() -> SparkSession:
    """Return Spark on two threads, with a shuffle that is not cut into 200 pieces for two of them."""
    return (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "8g")
        .config("spark.sql.shuffle.partitions", "8")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )


def findings(table: dict[str, DataFrame]) -> DataFrame:
    """Return (kind, order_id) of every difference between the systems."""
    shop, charges, verdicts, deliveries = (table[name] for name in ("shop", "charges", "verdicts", "deliveries"))
    streamed = table["events"].where("order_id is not null").select("order_id").distinct()
    judged = verdicts.groupBy("order_id").agg(f.max("clear").alias("clear"), f.count("*").alias("times"))
    released = deliveries.where("type = 'DeliveryReleased'").groupBy("order_id").agg(f.count("*").alias("times"))
    paid = (
        charges.where("status in ('succeeded', 'pending') and order_id is not null")
        .groupBy("order_id")
        .agg(f.sum("amount").alias("charged"), f.collect_set("currency").alias("currencies"))
    )
    cleared = released.join(judged.select("order_id", "clear"), "order_id", "left").withColumn(
        "clear", f.coalesce("clear", f.lit(False))
    )
    both = shop.join(paid, "order_id")
    found = {
        "order-not-streamed": shop.join(streamed, "order_id", "left_anti"),
        "order-not-sold": streamed.join(shop, "order_id", "left_anti"),
        "verdict-missing": streamed.join(judged, "order_id", "left_anti"),
        "verdict-repeated": judged.where("times > 1"),
        "released-without-clearance": cleared.where("not clear"),
        "released-twice": cleared.where("clear and times > 1"),
        "amount-differs": both.where("charged != amount or currencies != array(currency)"),
        "payment-missing": shop.join(paid, "order_id", "left_anti"),
        "payment-orphan": paid.join(shop, "order_id", "left_anti").join(streamed, "order_id", "left_anti"),
    }
    parts = [rows.select(f.lit(kind).alias("kind"), "order_id") for kind, rows in found.items()]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.unionByName(part)
    return whole


def _faded(seconds: float, weight: Callable[[Column], Column]) -> Column:
    """Return the sum over the past orders of a weight that fades."""
    return f.aggregate(
        "past", f.lit(0.0), lambda total, one: total + weight(one) * f.exp((one["at"] - f.col("at")) / seconds)
    )


def signals(events: DataFrame) -> DataFrame:
    """Return the velocity signals of each order, one column a signal: sums over all that an entity did before."""
    rows = events.withColumn("at", f.col("time").cast("double"))
    for entity, key in ENTITIES.items():
        # Sign-ups come first where both fall on one instant, as they were sent.
        before = Window.partitionBy(key).orderBy("place").rowsBetween(Window.unboundedPreceding, Window.currentRow)
        past = f.collect_list(f.when(f.col("order_id").isNotNull(), f.struct("at", "amount"))).over(before)
        rows = rows.withColumn("past", past)
        for window, seconds in WINDOWS_S.items():
            rows = rows.withColumn(f"{entity}.orders_{window}", _faded(seconds, lambda one: f.lit(1.0)))
            rows = rows.withColumn(f"{entity}.spent_{window}", _faded(seconds, lambda one: one["amount"]))
        made = [f"`{entity}.{kind}_{window}`" for kind in ("orders", "spent") for window in WINDOWS_S]
        if entity != "customer":
            distinct = f.size(f.collect_set("customer_id").over(before))
            rows = rows.withColumn(f"{entity}.customers", f.least(distinct, f.lit(MAX_DISTINCT)).cast("double"))
            made.append(f"`{entity}.customers`")
        for name in made:
            rows = rows.withColumn(name.strip("`"), f.when(f.col(key).isNotNull(), f.col(name)))
        rows = rows.drop("past")
    names = [f"`{name}`" for name in rows.columns if "." in name]
    return rows.where("order_id is not null").select("order_id", *names)


def difference(spark: SparkSession, written: Path, sample: Path) -> float:
    """Return the largest difference of a signal from Countersign's, over the sampled orders."""
    made = spark.read.parquet(str(written))
    names = [name for name in made.columns if name != "order_id"]
    theirs = spark.read.parquet(str(sample)).where(f.col("signal").isin(names))
    chosen = made.join(theirs.select("order_id").distinct(), "order_id", "left_semi")
    quoted = ", ".join(f"'{name}', `{name}`" for name in names)
    mine = chosen.selectExpr("order_id", f"stack({len(names)}, {quoted}) as (signal, mine)").where("mine is not null")
    both = theirs.join(mine, ["order_id", "signal"], "full").select(
        f.abs(f.col("mine") - f.col("value")).alias("apart")
    )
    missing, largest = both.agg(f.sum(f.col("apart").isNull().cast("int")), f.max("apart")).first()
    return float("inf") if missing or largest is None else float(largest)


def main(folder: Path, out: Path) -> None:
    """Reconcile, and say how long it took; Spark's own start counts, as ours does."""
    started = monotonic()
    spark = session()
    names = ("events", "verdicts", "deliveries", "shop", "charges")
    table = {name: spark.read.parquet(str(folder / f"{name}.parquet")) for name in names}
    with tempfile.TemporaryDirectory() as name:
        findings(table).write.parquet(f"{name}/findings")
        signals(table["events"]).write.parquet(f"{name}/signals")
        seconds = monotonic() - started
        counted = spark.read.parquet(f"{name}/findings").groupBy("kind").count().collect()
        told = {
            "seconds": seconds,
            "findings": {row["kind"]: row["count"] for row in counted},
            "largest_difference": difference(spark, Path(name) / "signals", folder / "sample.parquet"),
        }
    spark.stop()
    out.write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
