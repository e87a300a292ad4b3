/* The `line` rule: the Calculator promises one line out for each line in, in order; a line delivered acknowledges one.
 *
 * Lines are counted over all runs. More lines out than in, or a Calculator that waits for input while lines are missing,
 * breaks the rule: nothing is acknowledged in that run any more, and Python is told to end it. */
#include <stdio.h>

#include "inlet.h"
#include "minmax.h"

#define LINE_LOOK_NS (50 * MS) /* a missing line is looked for this often, in a pipe that is empty */

static void break_rule(inlet_t *s, int64_t mark, const char *how) {
    char why[NOTICE_TEXT_BYTES];
    const long long came = mark - s->ack.mark_before;
    const long long written = ledger_lines_written(&s->ledger) - s->ack.mark_before;
    snprintf(why, sizeof why, "%lld lines came out for %lld written: %s", came, written, how);
    s->run.rule_broken = true;
    s->counts.rules_broken++;
    inlet_notice(s, NOTICE_PROTOCOL, 0, why);
}

/* Who mends the program has to know which line it was; a banner at its start is not the one that is counted. */
static void break_rule_by_surplus(inlet_t *s, int64_t mark) {
    char line[QUOTE_BYTES], first[QUOTE_BYTES], how[400];
    surplus_take(&s->progress->surplus, ledger_lines_written(&s->ledger) + 1, line, first);
    if (line[0] != '\0')
        snprintf(how, sizeof how, "more than one for each; one too many: '%s'; the first of this run: '%s'", line,
                 first);
    else if (first[0] != '\0')
        snprintf(how, sizeof how, "more than one for each; the first of this run: '%s'", first);
    else
        snprintf(how, sizeof how, "more than one for each");
    break_rule(s, mark, how);
}

static void break_rule_by_debt(inlet_t *s, int64_t mark) {
    char how[160];
    const long long owed = ledger_lines_written(&s->ledger) - mark;
    snprintf(how, sizeof how,
             "the Calculator waits for input and owes %lld; does it print one line for each, and flush it?", owed);
    break_rule(s, mark, how);
}

static void check(inlet_t *s, int64_t mark) {
    if (s->run.attached && !s->run.rule_broken && mark > ledger_lines_written(&s->ledger))
        break_rule_by_surplus(s, mark);
}

static int64_t settle(inlet_t *s) {
    /* Read in this order: what is delivered by now was framed, so none that is too many has been counted. */
    const int64_t delivered = progress_mark_delivered(s->progress);
    check(s, progress_mark_framed(s->progress));
    return s->run.rule_broken ? s->ledger.head : ledger_settle_marks(&s->ledger, delivered);
}

/* Look for a line that will not come. */
static int64_t watch(inlet_t *s, int64_t now_ns) {
    ack_watch_t *watch = &s->ack;
    const int64_t framed = progress_mark_framed(s->progress);
    if (framed >= ledger_lines_written(&s->ledger) || s->orders.paused || !inlet_may_write(s)) {
        watch->empty_since_ns = 0;
        return 0;
    }
    ack_watch_stdin(s, framed, now_ns, LINE_LOOK_NS);
    if (now_ns < watch->next_probe_ns)
        return watch->next_probe_ns - now_ns;
    const int64_t late_ns = now_ns - watch->next_probe_ns;
    /* We were stopped ourselves: what came out in the meantime may wait for the outlet, which was stopped too. */
    if (late_ns > LINE_LOOK_NS)
        watch->idle_since_ns = min_i64(now_ns, watch->idle_since_ns + late_ns);
    watch->next_probe_ns = now_ns + LINE_LOOK_NS;
    s->counts.probes++;
    /* Only one that surely waits for input can be said to owe a line; one in an event loop may be at work on it. */
    if (calculator_probe_look(&s->demand.probe) != PROBE_IDLE) {
        watch->idle_since_ns = now_ns;
    } else if (now_ns - watch->idle_since_ns >= s->config.idle_ns) {
        break_rule_by_debt(s, framed);
        return 0;
    }
    return watch->next_probe_ns - now_ns;
}

static void attach(inlet_t *s) {
    s->ack.mark_before = s->ledger.mark = progress_mark_expected(s->progress);
    progress_write_lines(s->progress, s->ledger.mark);
}

static void written(inlet_t *s) { progress_write_lines(s->progress, ledger_lines_written(&s->ledger)); }

static void hand_over(inlet_t *s) { progress_expect_mark(s->progress, s->ledger.mark); }

const ack_policy_t ack_line = {
    .count = LEDGER_COUNT_LINES,
    .attach = attach,
    .written = written,
    .settle = settle,
    .watch = watch,
    .check = check,
    .rewind = ack_rewind_marks,
    .forget = ack_forget_marks,
    .hand_over = hand_over,
};
