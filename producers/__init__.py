"""What puts records on the log: durable publish, PA's requests, holiday calendars."""
