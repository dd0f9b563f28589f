"""The revisions. ``reconciler.store.schema.REVISIONS`` lists them, oldest first; nothing else lives here."""
