/* tests/unit/intake/peer.h -- a source that is written by hand: it says what it likes to a take. */
#pragma once

#include "intake/take.h"
#include "tests/unit/intake/scratch.h"

struct peer {
    struct dz_vault *v;
    struct dz_take *take;
    dz_buf say; /* frames that are not sent yet */
    dz_buf heard;
    size_t at; /* in heard: what was looked at */
    dz_buf path, rows;
    uint8_t nonce[DZ_WIRE_NONCE];
};

/* Connects to a take for the source "emr", which need prove nothing; `how` may say otherwise. */
void peer_open(struct peer *p, struct dz_vault *v, const struct dz_take_how *how);
void peer_close(struct peer *p);

/* HELLO and BEGIN, up to READY or DONE. */
void peer_begin(struct peer *p, const char *source, uint8_t run);
dz_id peer_id(dz_slice bytes);

/* These put a frame into p->say. */
void peer_chunk(struct peer *p, dz_slice bytes);
void peer_ref(struct peer *p, dz_slice bytes);
void peer_have(struct peer *p, dz_slice bytes);
void peer_entry(struct peer *p, enum dz_entry_type type, const char *path, uint64_t size,
                uint32_t flags, const dz_buf *fields);
/* A chunk and the file that has it. */
void peer_file(struct peer *p, const char *path, dz_slice bytes);
void peer_commit(struct peer *p, uint64_t entries, uint64_t bytes);

/* Sends what was said, `piece` bytes at a time, and takes what is answered. */
void peer_send(struct peer *p, size_t piece);
/* The next message that was heard; false when there is none. */
bool peer_hear(struct peer *p, struct dz_wire_message *ret_message);
/* The next message must be of this type. */
struct dz_wire_message peer_must_hear(struct peer *p, enum dz_wire_type type);
/* Sends, and must be refused with this code, with nothing after it. */
void peer_must_be_refused(struct peer *p, uint16_t code, const char *name);

size_t peer_snapshots(struct dz_vault *v);
