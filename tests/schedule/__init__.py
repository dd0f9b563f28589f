"""The room of cron, zones and policies: known truths, tables of cases, and oracles that share no code."""
