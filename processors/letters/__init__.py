"""Dead letters: what became of each, what may be sent again, and what can be read of its bytes.

For: ``peaktime dead-letters``. Pure: records in, decisions out. Must not: talk to Kafka, or change a letter; the topic
only ever grows.
"""
