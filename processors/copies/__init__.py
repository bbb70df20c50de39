"""Which records of a topic are copied to another, and which are there already.

For: ``peaktime republish``. Pure: records in, decisions out. Must not: talk to Kafka, or change a record's bytes.
"""
