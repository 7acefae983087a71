#include <stdio.h>
#include <string.h>

#include "err.h"
#include "mem.h"
#include "stream.h"

static int port_parse(const char *text, uint16_t *ret)
{
    unsigned value = 0;

    if (*text == '\0') {
        return ERR_INVAL;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return ERR_INVAL;
        }
        value = value * 10 + (unsigned)(*text - '0');
        if (value > UINT16_MAX) {
            return ERR_INVAL;
        }
    }
    *ret = (uint16_t)value;
    return 0;
}

static int unix_parse(const char *path, struct net_addr *ret)
{
    size_t size = strlen(path);

    if (size == 0 || size >= sizeof(ret->path)) {
        return ERR_INVAL;
    }
    *ret = (struct net_addr){.is_unix = true};
    memcpy(ret->path, path, size);
    return 0;
}

int net_addr_parse(const char *text, struct net_addr *ret)
{
    struct net_addr addr = {0};
    const char *host = text;
    const char *colon = strrchr(text, ':');
    size_t size;

    if (strncmp(text, "unix:", 5) == 0) {
        return unix_parse(text + 5, ret);
    }
    if (colon == NULL || port_parse(colon + 1, &addr.port) != 0) {
        return ERR_INVAL;
    }
    size = (size_t)(colon - text);
    if (size > 2 && host[0] == '[' && host[size - 1] == ']') {
        host++;
        size -= 2;
    } else if (memchr(host, ':', size) != NULL) {
        return ERR_INVAL; /* "::1:80" could be cut in more than one place */
    }
    if (size == 0 || size >= sizeof(addr.host) || strcspn(host, "[]/ \t") < size) {
        return ERR_INVAL;
    }
    memcpy(addr.host, host, size);
    *ret = addr;
    return 0;
}

void net_addr_text(const struct net_addr *addr, char *ret, size_t cap)
{
    if (addr->is_unix) {
        snprintf(ret, cap, "unix:%s", addr->path);
    } else if (strchr(addr->host, ':') != NULL) {
        snprintf(ret, cap, "[%s]:%u", addr->host, addr->port);
    } else {
        snprintf(ret, cap, "%s:%u", addr->host, addr->port);
    }
}

int net_addr_list_parse(const char *text, struct net_addr **ret, uint32_t *ret_count)
{
    char *copy = mem_strdup(text);
    char *rest = copy;
    char *one;
    struct net_addr *list = NULL;
    uint32_t count = 0;

    while ((one = strsep(&rest, "+")) != NULL) {
        list = mem_realloc(list, (count + 1) * sizeof(*list));
        if (net_addr_parse(one, &list[count]) != 0) {
            mem_free(list);
            mem_free(copy);
            return ERR_INVAL;
        }
        count++;
    }
    mem_free(copy);
    *ret = list;
    *ret_count = count;
    return 0;
}
