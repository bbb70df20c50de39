"""From requests, reports and snapshots to entries, facts and calendar states."""
