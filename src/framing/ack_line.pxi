# The `line` rule: the Calculator promises one line out for each line in, in order; a line delivered acknowledges one.
#
# Lines are counted over all runs. More lines out than in, or a Calculator that waits for input while lines are missing,
# breaks the rule: nothing is acknowledged in that run any more, and Python is told to end it.

cdef int64_t LINE_LOOK_NS = 50 * MS     # a missing line is looked for this often, in a pipe that is empty


cdef void inlet_break_rule(inlet_t *s, int64_t mark, const char *how) noexcept nogil:
    cdef char why[480]
    cdef long long came = mark - s.mark_before
    cdef long long written = ledger_lines_written(&s.ledger) - s.mark_before
    snprintf(why, sizeof(why), "%lld lines came out for %lld written: %s", came, written, how)
    s.rule_broken = True
    s.rules_broken += 1
    notice_post(&s.client.notices, NOTICE_PROTOCOL, 0, why)


cdef void inlet_break_rule_by_surplus(inlet_t *s, int64_t mark) noexcept nogil:
    """Who mends the program has to know which line it was; a banner at its start is not the one that is counted."""
    cdef char line[QUOTE_BYTES]
    cdef char first[QUOTE_BYTES]
    cdef char how[400]
    surplus_take(&s.progress.surplus, ledger_lines_written(&s.ledger) + 1, line, first)
    if line[0] != 0:
        snprintf(how, sizeof(how), "more than one for each; one too many: '%s'; the first of this run: '%s'", line,
                 first)
    elif first[0] != 0:
        snprintf(how, sizeof(how), "more than one for each; the first of this run: '%s'", first)
    else:
        snprintf(how, sizeof(how), "more than one for each")
    inlet_break_rule(s, mark, how)


cdef void inlet_break_rule_by_debt(inlet_t *s, int64_t mark) noexcept nogil:
    cdef char how[160]
    cdef long long owed = ledger_lines_written(&s.ledger) - mark
    snprintf(how, sizeof(how),
             "the Calculator waits for input and owes %lld; does it print one line for each, and flush it?", owed)
    inlet_break_rule(s, mark, how)


cdef void inlet_look_for_surplus(inlet_t *s, int64_t mark) noexcept nogil:
    """STDOUT has come up to this mark."""
    if s.attached and not s.rule_broken and mark > ledger_lines_written(&s.ledger):
        inlet_break_rule_by_surplus(s, mark)


cdef int64_t inlet_settled_lines(inlet_t *s) noexcept nogil:
    """The sequence number up to which the lines that are delivered acknowledge."""
    # Read in this order: what is delivered by now was framed, so none that is too many has been counted.
    cdef int64_t delivered = progress_mark_delivered(s.progress)
    inlet_look_for_surplus(s, progress_mark_framed(s.progress))
    return s.ledger.head if s.rule_broken else ledger_settle_marks(&s.ledger, delivered)


cdef int64_t inlet_watch_lines(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Look for a line that will not come. Returns in how many ns to look again; 0 when there is nothing to look for."""
    cdef int unread = 0
    cdef int64_t framed = progress_mark_framed(s.progress)
    if framed >= ledger_lines_written(&s.ledger) or s.paused or not inlet_may_write(s):
        s.empty_since_ns = 0
        return 0
    if s.ledger.cursor_bytes > 0 or sys.unread_bytes(s.stdin_fd, &unread) != 0 or unread > 0 \
            or progress_held(s.progress) or s.empty_since_ns == 0 or framed != s.mark_seen:
        s.mark_seen = framed
        s.empty_since_ns = s.idle_since_ns = now_ns
        s.next_probe_ns = now_ns + LINE_LOOK_NS
    if now_ns >= s.next_probe_ns:
        if now_ns - s.next_probe_ns > LINE_LOOK_NS:
            # We were stopped ourselves: what came out in the meantime may wait for the outlet, which was stopped too.
            s.idle_since_ns = min(now_ns, s.idle_since_ns + now_ns - s.next_probe_ns)
        s.next_probe_ns = now_ns + LINE_LOOK_NS
        s.probes += 1
        # Only one that surely waits for input can be said to owe a line; one in an event loop may be at work on it.
        if calculator_probe_look(&s.demand.probe) != PROBE_IDLE:
            s.idle_since_ns = now_ns
        elif now_ns - s.idle_since_ns >= s.idle_ns:
            inlet_break_rule_by_debt(s, framed)
            return 0
    return s.next_probe_ns - now_ns
