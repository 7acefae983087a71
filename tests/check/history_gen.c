#include "history_gen.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "codec.h"
#include "wire.h"

/* Processes take turns by chance: call, take effect, return. What a call does and sees is what the
 * model has when it takes effect; with default reads, what its mount has applied by then. */

enum { PROCS = 6, MOUNTS = 3, FILES = 2, GIVE_UP = 4 };

enum phase { IDLE, CALLED, EFFECTIVE };

struct gen_proc {
    enum phase phase;
    uint64_t op;
    uint32_t number;
    bool unknown;
};

struct gen_run {
    struct gen *g;
    struct gen_proc procs[PROCS];
    uint64_t applied[MOUNTS];
    uint32_t number_next;
    uint64_t late[64]; /* calls that were given up, and take effect later */
    uint32_t late_count;
    uint32_t unknown_percent;
};

static uint32_t roll(struct gen *g, uint32_t below)
{
    return (uint32_t)prng_below(&g->prng, below);
}

/* --- entries --------------------------------------------------------------------------------- */

void gen_entry(struct gen *g, struct request *r)
{
    struct txn_stamp stamp = {.time_ns = (int64_t)g->now_ns, .value_size_max = 1 << 20};
    struct buf request = {0};
    struct ledger_entry e = {.epoch = 1, .type = ZAB_ENTRY_DATA};

    stamp.session = r->op == OP_SESSION_OPEN ? 0 : 1;
    r->xid = ++g->xid;
    codec_encode_request(&request, r);
    e.body = wire_txn_new(&stamp, request.data, request.size);
    ledger_push(&g->ledger, &e);
    blob_unref(e.body);
    buf_done(&request);
}

static uint64_t apply(struct gen *g, struct request *r)
{
    gen_entry(g, r);
    CHECK(model_advance(g->model, &g->ledger) == NULL);
    return model_index(g->model);
}

static struct name name_of(const char *text)
{
    return (struct name){text, (uint32_t)strlen(text)};
}

static uint64_t make(struct gen *g, uint64_t dir, const char *name, enum node_type type,
                     uint32_t flags)
{
    struct request r = {.op = OP_CREATE};

    r.u.create.dir = dir;
    r.u.create.name = name_of(name);
    r.u.create.type = type;
    r.u.create.mode = 0644;
    r.u.create.flags = flags;
    return apply(g, &r);
}

static uint64_t dir_id(const struct gen *g, char letter)
{
    return model_place(g->model, TREE_ROOT_ID, (struct name){&letter, 1})->node->id;
}

static void setup(struct gen *g)
{
    struct request r = {.op = OP_SESSION_OPEN};

    g->model = model_new();
    r.u.session_open.timeout_ms = 10000;
    apply(g, &r);
    make(g, TREE_ROOT_ID, "v", NODE_DIR, 0);
    make(g, TREE_ROOT_ID, "x", NODE_DIR, 0);
    make(g, TREE_ROOT_ID, "q", NODE_DIR, 0);
    for (int i = 0; i < FILES; i++) {
        char name[16];

        snprintf(name, sizeof(name), "v%d", i);
        make(g, dir_id(g, 'v'), name, NODE_FILE, 0);
    }
}

/* --- calls ----------------------------------------------------------------------------------- */

static void choose(struct gen_run *run, struct gen_op *op)
{
    static const enum history_kind weights[] = {
        HISTORY_WRITE, HISTORY_WRITE,  HISTORY_APPEND, HISTORY_APPEND, HISTORY_READ,
        HISTORY_READ,  HISTORY_READ,   HISTORY_READ,   HISTORY_READ,   HISTORY_EXCL,
        HISTORY_EXCL,  HISTORY_NUMBER, HISTORY_DELETE, HISTORY_DELETE, HISTORY_LIST,
        HISTORY_LIST,  HISTORY_SYNC};
    struct gen *g = run->g;
    char dir = roll(g, 3) == 0 ? 'x' : 'v';

    op->kind = weights[roll(g, sizeof(weights) / sizeof(weights[0]))];
    op->err = "0";
    snprintf(op->result, sizeof(op->result), "-");
    switch (op->kind) {
    case HISTORY_WRITE:
    case HISTORY_APPEND:
        snprintf(op->result, sizeof(op->result), "%u.%" PRIu64 ";", op->proc, ++g->tokens);
        snprintf(op->path, sizeof(op->path), "v/v%u", roll(g, FILES));
        break;
    case HISTORY_READ:
        snprintf(op->path, sizeof(op->path), "%c/%c%u", dir, dir, roll(g, FILES));
        break;
    case HISTORY_NUMBER:
        snprintf(op->path, sizeof(op->path), "q/j-#");
        break;
    case HISTORY_LIST:
        snprintf(op->path, sizeof(op->path), "%c", roll(g, 4) == 0 ? 'q' : 'x');
        break;
    case HISTORY_SYNC:
        snprintf(op->path, sizeof(op->path), "-");
        break;
    default:
        snprintf(op->path, sizeof(op->path), "x/x%u", roll(g, FILES));
        break;
    }
}

static void call(struct gen_run *run, uint32_t p)
{
    struct gen *g = run->g;
    struct gen_proc *proc = &run->procs[p];
    struct gen_op *op;

    g->ops = model_grow(g->ops, g->count, &g->cap, sizeof(*g->ops));
    op = &g->ops[g->count];
    *op = (struct gen_op){.proc = proc->number,
                          .mount = 1 + p % MOUNTS,
                          .linear = p >= PROCS / 2,
                          .call_ns = g->now_ns};
    choose(run, op);
    proc->op = g->count++;
    proc->phase = CALLED;
    proc->unknown =
        op->kind != HISTORY_READ && op->kind != HISTORY_LIST && roll(g, 100) < run->unknown_percent;
}

/* --- effects --------------------------------------------------------------------------------- */

static const struct model_node *node_of(const struct gen *g, const char *path, uint64_t index)
{
    return model_child_at(g->model, dir_id(g, path[0]), name_of(path + 2), index);
}

static void put_value(struct gen *g, struct gen_op *op)
{
    struct request r = {.op = op->kind == HISTORY_WRITE ? OP_SET : OP_APPEND};
    struct blob *value = blob_new(op->result, strlen(op->result));
    const struct model_node *n = node_of(g, op->path, model_index(g->model));

    if (n->versions[n->version_count - 1].attr.size > GEN_TEXT_SIZE / 2) {
        op->kind = HISTORY_WRITE; /* values stay short */
        r.op = OP_SET;
    }
    if (r.op == OP_SET) {
        r.u.set.id = n->id;
        r.u.set.value = value;
    } else {
        r.u.append.id = n->id;
        r.u.append.value = value;
    }
    op->index = apply(g, &r);
    op->node = n->id;
    blob_unref(value);
}

static void make_name(struct gen *g, struct gen_op *op)
{
    bool numbered = op->kind == HISTORY_NUMBER;
    const struct model_node *dir, *n;

    if (!numbered && node_of(g, op->path, model_index(g->model)) != NULL) {
        op->err = "EEXIST";
        return;
    }
    op->index = make(g, dir_id(g, op->path[0]), numbered ? "j-" : op->path + 2, NODE_FILE,
                     numbered ? CREATE_SEQUENTIAL : 0);
    dir = model_node(g->model, dir_id(g, op->path[0]));
    n = dir->children[dir->child_count - 1]->node;
    op->node = n->id;
    if (numbered) {
        snprintf(op->result, sizeof(op->result), "%.*s", (int)n->life->name.size,
                 n->life->name.bytes);
    } else {
        snprintf(op->result, sizeof(op->result), "%" PRIu64, n->id);
    }
}

static void remove_name(struct gen *g, struct gen_op *op)
{
    struct request r = {.op = OP_REMOVE};

    if (node_of(g, op->path, model_index(g->model)) == NULL) {
        op->err = "ENOENT";
        return;
    }
    r.u.remove.dir = dir_id(g, op->path[0]);
    r.u.remove.name = name_of(op->path + 2);
    op->node = node_of(g, op->path, model_index(g->model))->id;
    op->index = apply(g, &r);
}

static void read_value(struct gen *g, struct gen_op *op, uint64_t index)
{
    const struct model_node *n = node_of(g, op->path, index);
    const struct model_version *v = n != NULL ? model_version_at(n, index) : NULL;

    if (v == NULL) {
        op->err = "ENOENT";
        return;
    }
    op->node = n->id;
    snprintf(op->result, sizeof(op->result), "%.*s", v->value != NULL ? (int)v->value->size : 0,
             v->value != NULL ? (const char *)v->value->data : "");
}

static void list_names(struct gen *g, struct gen_op *op, uint64_t index)
{
    const struct model_node *dir = model_node(g->model, dir_id(g, op->path[0]));
    size_t used = 0;

    op->result[0] = '\0';
    for (uint32_t i = 0; i < dir->child_count && used < sizeof(op->result) - 32; i++) {
        const struct model_life *l = dir->children[i];

        if (l->from <= index && index < l->to) {
            used += (size_t)snprintf(op->result + used, sizeof(op->result) - used, "%s%.*s",
                                     used > 0 ? "," : "", (int)l->name.size, l->name.bytes);
        }
    }
}

static void effect(struct gen_run *run, struct gen_op *op)
{
    struct gen *g = run->g;
    uint64_t *applied = &run->applied[op->mount - 1];
    uint64_t index = op->linear ? model_index(g->model) : *applied;

    switch (op->kind) {
    case HISTORY_WRITE:
    case HISTORY_APPEND:
        put_value(g, op);
        break;
    case HISTORY_EXCL:
    case HISTORY_NUMBER:
        make_name(g, op);
        break;
    case HISTORY_DELETE:
        remove_name(g, op);
        break;
    case HISTORY_READ:
        read_value(g, op, index);
        break;
    case HISTORY_LIST:
        list_names(g, op, index);
        break;
    default:
        break;
    }
    if (!op->linear && op->kind != HISTORY_READ && op->kind != HISTORY_LIST) {
        *applied = model_index(g->model); /* its own change, and refusals, are of now */
    }
}

/* Without a word: the process is gone, or was told ETIMEDOUT. What it asked for may come yet. */
static void give_up(struct gen_run *run, struct gen_proc *proc)
{
    struct gen_op *op = &run->g->ops[proc->op];
    bool gone = roll(run->g, 2) == 0;

    if (proc->phase == CALLED && roll(run->g, 2) == 0 && run->late_count < 64) {
        run->late[run->late_count++] = proc->op;
    }
    if (op->kind != HISTORY_WRITE && op->kind != HISTORY_APPEND) {
        snprintf(op->result, sizeof(op->result), "-");
    }
    op->err = gone ? "-" : "ETIMEDOUT";
    op->ret_ns = gone ? HISTORY_NEVER : run->g->now_ns;
    proc->number = gone ? ++run->number_next : proc->number;
    proc->phase = IDLE;
}

static void turn(struct gen_run *run, bool may_call)
{
    struct gen *g = run->g;
    uint32_t p = roll(g, PROCS);
    struct gen_proc *proc = &run->procs[p];
    uint32_t mount = roll(g, MOUNTS);

    g->now_ns += 1 + roll(g, 50);
    if (run->applied[mount] < model_index(g->model) && roll(g, 2) == 0) {
        run->applied[mount] += 1 + roll(g, (uint32_t)(model_index(g->model) - run->applied[mount]));
    }
    if (run->late_count > 0 && roll(g, 20) == 0) {
        struct gen_op *op = &g->ops[run->late[--run->late_count]];
        struct gen_op was = *op;

        effect(run, op);
        op->err = was.err;
        memcpy(op->result, was.result, sizeof(op->result));
    } else if (proc->phase == IDLE) {
        if (may_call) {
            call(run, p);
        }
    } else if (proc->unknown && roll(g, GIVE_UP) == 0) {
        give_up(run, proc);
    } else if (proc->phase == CALLED) {
        effect(run, &g->ops[proc->op]);
        proc->phase = EFFECTIVE;
    } else {
        if (proc->unknown) {
            give_up(run, proc);
            return;
        }
        g->ops[proc->op].ret_ns = g->now_ns;
        if (strcmp(g->ops[proc->op].err, "0") != 0) {
            snprintf(g->ops[proc->op].result, GEN_TEXT_SIZE, "-");
        }
        proc->phase = IDLE;
    }
}

void gen_run(struct gen *g, uint64_t seed, uint64_t count, uint32_t unknown_percent)
{
    struct gen_run run = {.g = g, .unknown_percent = unknown_percent, .number_next = PROCS};

    *g = (struct gen){.prng = {seed}, .now_ns = 1000};
    setup(g);
    for (uint32_t p = 0; p < PROCS; p++) {
        run.procs[p].number = p + 1;
        run.applied[p % MOUNTS] = model_index(g->model);
    }
    while (g->count < count) {
        turn(&run, true);
    }
    for (int i = 0; i < 200; i++) {
        turn(&run, false);
    }
    for (uint32_t p = 0; p < PROCS; p++) {
        if (run.procs[p].phase != IDLE) {
            give_up(&run, &run.procs[p]);
        }
    }
}

void gen_done(struct gen *g)
{
    ledger_done(&g->ledger);
    model_free(g->model);
    mem_free(g->ops);
    *g = (struct gen){0};
}

void gen_history(const struct gen *g, struct history *ret)
{
    struct buf text = {0};

    for (uint64_t i = 0; i < g->count; i++) {
        const struct gen_op *op = &g->ops[i];
        char line[GEN_TEXT_SIZE + 256];
        char end[24] = "-";
        int size;

        if (op->ret_ns != HISTORY_NEVER) {
            snprintf(end, sizeof(end), "%" PRIu64, op->ret_ns);
        }
        size = snprintf(line, sizeof(line), "%u\t%u\t%c\t%s\t%" PRIu64 "\t%s\t%s\t%s\t%s\n",
                        op->proc, op->mount, op->linear ? 'l' : 'd', history_kind_text(op->kind),
                        op->call_ns, end, op->err, op->path, op->result);
        buf_put(&text, line, (size_t)size);
    }
    CHECK(history_add(ret, (const char *)text.data, text.size) == 0);
    buf_done(&text);
}
