"""The contract: Avro schemas, the topic catalogue, typed records, and how they become bytes.

For: everything that touches a topic. Must not: import anything of ours but the errors, nor know a broker.
"""
