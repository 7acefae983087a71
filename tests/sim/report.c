#include <inttypes.h>
#include <stdio.h>

#include "sim.h"

const char *sim_event_name(enum sim_event_kind kind)
{
    static const char *const names[] = {
#define X(name) #name,
        SIM_EVENTS(X)
#undef X
    };

    return names[kind];
}

void report_add(struct sim_counts *to, const struct sim_counts *from)
{
#define X(name, text) to->name += from->name;
    SIM_COUNTS(X)
#undef X
}

static void line(const char *text, double value, int digits)
{
    printf("%-52s %16.*f\n", text, digits, value);
}

void report_table(const struct sim_counts *c, double seconds, double processor_seconds)
{
    double hours = (double)c->simulated_us / 3600e6;

#define X(name, text) printf("%-52s %16" PRIu64 "\n", text, c->name);
    SIM_COUNTS(X)
#undef X
    line("simulated hours", hours, 3);
    line("real seconds", seconds, 1);
    line("processor seconds", processor_seconds, 1);
    line("simulated hours per hour of one processor", hours * 3600 / processor_seconds, 0);
}
