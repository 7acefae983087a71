#include "zabnet.h"

#include "check.h"
#include "mem.h"

/* Disks of the net: what a crash leaves, and the jobs on their way there. */

void net_entries_free(struct zab_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        blob_unref(entries[i].body);
    }
    mem_free(entries);
}

void net_disk_cut(struct net_disk *d, uint64_t index)
{
    CHECK(index >= d->base.index);
    while (d->entry_count > index - d->base.index) {
        blob_unref(d->entries[--d->entry_count].body);
    }
}

bool net_disk_fresh(const struct net_disk *d)
{
    return d->promised_epoch == 0 && (d->base.index == 0 || d->restored) && d->entry_count == 0;
}

void net_disk_run(struct net_disk *d, const struct net_job *job)
{
    switch (job->type) {
    case NET_JOB_VOTE:
        CHECK(job->promised_epoch > d->promised_epoch);
        d->promised_epoch = job->promised_epoch;
        d->voted_for = job->voted_for;
        break;
    case NET_JOB_APPEND:
        d->entries =
            mem_realloc(d->entries, (d->entry_count + job->entry_count) * sizeof(*d->entries));
        for (uint32_t i = 0; i < job->entry_count; i++) {
            CHECK(job->entries[i].index == d->base.index + d->entry_count + 1);
            d->entries[d->entry_count] = job->entries[i];
            blob_ref(d->entries[d->entry_count++].body);
        }
        break;
    case NET_JOB_TRUNCATE:
        net_disk_cut(d, job->index);
        break;
    case NET_JOB_INSTALL:
        net_disk_cut(d, d->base.index);
        d->base = job->pos;
        d->restored = false;
        d->faulty = false;
        break;
    }
}

void net_jobs_drop_first(struct net_member *m, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        net_entries_free(m->jobs[i].entries, m->jobs[i].entry_count);
    }
    m->job_count -= count;
    for (size_t i = 0; i < m->job_count; i++) {
        m->jobs[i] = m->jobs[i + count];
    }
}

struct net_job *net_job_add(struct net *net, struct net_member *m, enum net_job_type type,
                            uint64_t seq)
{
    m->jobs = mem_realloc(m->jobs, (m->job_count + 1) * sizeof(*m->jobs));
    CHECK(m->job_count == 0 || m->jobs[m->job_count - 1].seq + 1 == seq);
    m->jobs[m->job_count] =
        (struct net_job){.type = type, .seq = seq, .at_ms = net->now_ms + net->disk_ms};
    return &m->jobs[m->job_count++];
}

void net_disk_do(struct net *net, uint32_t id, size_t jobs)
{
    struct net_member *m = net_member(net, id);

    CHECK(jobs <= m->job_count);
    for (size_t i = 0; i < jobs; i++) {
        net_disk_run(&m->disk, &m->jobs[i]);
    }
    net_jobs_drop_first(m, jobs);
}

/* A snapshot at index takes the place of the log before it. */
void net_disk_snapshot(struct net_disk *d, uint64_t index)
{
    size_t count = 0;

    for (; d->base.index < index; count++) {
        struct zab_entry *e = &d->entries[count];

        d->base = (struct zab_pos){e->epoch, e->index, e->chain};
        blob_unref(e->body);
    }
    d->entry_count -= count;
    for (size_t i = 0; i < d->entry_count; i++) {
        d->entries[i] = d->entries[i + count];
    }
}

void net_damage(struct net *net, uint32_t id, uint64_t index)
{
    struct net_disk *d = &net_member(net, id)->disk;

    CHECK(net_member(net, id)->zab == NULL);
    CHECK(d->entry_count > 0);
    if (!d->faulty) {
        const struct zab_entry *last = &d->entries[d->entry_count - 1];

        d->faulty = true;
        d->claimed = (struct zab_pos){.epoch = last->epoch, .index = last->index};
    }
    net_disk_cut(d, index);
}

void net_wipe(struct net *net, uint32_t id)
{
    struct net_disk *d = &net_member(net, id)->disk;

    CHECK(net_member(net, id)->zab == NULL);
    net_entries_free(d->entries, d->entry_count);
    *d = (struct net_disk){0};
}

void net_restore(struct net *net, uint32_t id, const struct zab_pos *pos)
{
    struct net_disk *d = &net_member(net, id)->disk;

    net_wipe(net, id);
    d->base = *pos;
    d->restored = true;
}
