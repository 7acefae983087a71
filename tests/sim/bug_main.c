#include "bug.h"

/* The simulator with the seeded bugs of common/base/bug.h compiled in:
 *     sim_bugs BUG [arguments of sim]     runs it with that bug, or with none: NONE
 *     sim_bugs                            lists them: name, what is wrong, source, tabs between */

enum bug bug_chosen = BUG_NONE;

int sim_main(int argc, char **argv);
#define main sim_main
#include "main.c" /* as it is, under another name */
#undef main

static const struct {
    const char *name, *what, *source;
} bugs[] = {{"NONE", "none", "-"},
#define X(id, what, source) {#id, what, source},
            BUG_LIST(X)
#undef X
};

int main(int argc, char **argv)
{
    for (unsigned i = 0; i < sizeof(bugs) / sizeof(bugs[0]); i++) {
        if (argc == 1 && i != BUG_NONE) {
            printf("%s\t%s\t%s\n", bugs[i].name, bugs[i].what, bugs[i].source);
        } else if (argc > 1 && strcmp(argv[1], bugs[i].name) == 0) {
            bug_chosen = (enum bug)i;
            return sim_main(argc - 1, argv + 1);
        }
    }
    return argc == 1 ? 0 : 2;
}
