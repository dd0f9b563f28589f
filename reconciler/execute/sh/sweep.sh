# Removes the folders of runs that nobody asked about for r_days days. Behind proc.sh and folder.sh.
for r_run in $(find "$HOME/.local/state/reconciler/runs" ! -name runs -prune -type d -mtime "+$((r_days - 1))" 2>/dev/null); do
    # one that still runs, or has ended since, is not forgotten
    if r_load && { r_lives "$r_pid" "$r_start" || r_waits; }; then continue; fi
    if r_ended && [ -z "$(find "$r_run/exit" -mtime "+$((r_days - 1))" 2>/dev/null)" ]; then continue; fi
    rm -rf "$r_run"
done
