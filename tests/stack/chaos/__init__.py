"""Chaos: a real broker and real workers under load, a seeded schedule of faults, and a checker that judges the topics.

    poison     records that no service may use, each with the reason that its dead letter must name
    changes    scorecards published and activated, and records that must change none
    tape       what is sent: the shop's events with duplicates, reordering and poison in them
    plan       the schedule: which fault, when, on whom; the same seed gives the same plan
    cluster    the broker and the workers, to be killed, frozen and started again
    takeover   how long a killed worker's partitions stand still
    run        plays the plan
    topics     reads what came of it
    checker    judges it, knowing the plan and the kernel but nothing of the streams
    result     the figures, the tables and ``chaos.json``

``python -m tests.stack.chaos --help``; the reasons are in ``docs/decisions/0064-what-chaos-schedules.md``.
"""
