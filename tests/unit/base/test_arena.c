#include "tests/support/check.h"
#include "tests/unit/base/dies.h"
#include "tests/unit/base/random.h"

#include "libcommon/base/arena.h"
#include "libcommon/base/poison.h"

#include <stdint.h>
#include <string.h>

#define CHUNK      ((size_t)4096)
#define CHUNKS_MAX 64
#define PLENTY     ((size_t)1 << 30)

static int setup(void **state)
{
    struct arena_pool *pool = arena_pool_open(CHUNK, CHUNKS_MAX);

    *state = pool;
    return pool == NULL ? 1 : 0;
}

/* Closing asserts that everything came back. */
static int teardown(void **state)
{
    struct arena_pool *pool = *state;

    arena_pool_close(&pool);
    return pool == NULL ? 0 : 1;
}

static void blocks_are_aligned_and_apart(void **state)
{
    struct arena *arena = arena_open(*state, PLENTY);
    unsigned char *blocks[200];

    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        blocks[i] = arena_alloc(arena, i);
        assert_non_null(blocks[i]);
        assert_row(i, (uintptr_t)blocks[i] % 16 == 0);
        memset(blocks[i], (int)i, i);
    }
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        for (size_t b = 0; b < i; b++) {
            assert_row(i, blocks[i][b] == (unsigned char)i);
        }
    }
    assert_false(arena_exhausted(arena));
    arena_dispose(&arena);
    assert_null(arena);
}

static void empty_blocks_have_addresses_of_their_own(void **state)
{
    struct arena *arena = arena_open(*state, PLENTY);
    void *first = arena_alloc(arena, 0);
    void *second = arena_alloc(arena, 0);

    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
    arena_dispose(&arena);
}

static void cap_is_exact(void **state)
{
    struct arena *arena = arena_open(*state, 64);

    assert_non_null(arena_alloc(arena, 48));
    assert_null(arena_alloc(arena, 17)); /* takes 32 */
    assert_true(arena_exhausted(arena));
    assert_int_equal(arena_bytes_used(arena), 48);
    assert_non_null(arena_alloc(arena, 16)); /* a refusal is not the end */
    assert_null(arena_alloc(arena, 0));
    arena_dispose(&arena);
}

static void sizes_near_the_end_of_size_t(void **state)
{
    struct arena *arena = arena_open(*state, SIZE_MAX);

    assert_null(arena_alloc(arena, SIZE_MAX));
    assert_null(arena_alloc(arena, SIZE_MAX - 15));
    assert_null(arena_alloc(arena, SIZE_MAX - 64));
    assert_null(arena_alloc(arena, SIZE_MAX / 2));
    assert_null(arena_alloc(arena, SIZE_MAX / 2 + 1));
    assert_null(arena_calloc(arena, SIZE_MAX / 2, 3));
    assert_null(arena_calloc(arena, SIZE_MAX, SIZE_MAX));
    assert_int_equal(arena_bytes_used(arena), 0);
    assert_non_null(arena_alloc(arena, 1));
    arena_dispose(&arena);
}

static void calloc_zeroes_used_memory(void **state)
{
    struct arena *arena = arena_open(*state, PLENTY);
    struct arena_mark mark = arena_mark(arena);
    void *dirty = arena_alloc(arena, 512);
    unsigned char *clean = NULL;

    memset(dirty, 0xFF, 512);
    arena_rewind(arena, mark);
    clean = arena_calloc(arena, 128, 4);
    assert_ptr_equal(clean, dirty);
    for (size_t i = 0; i < 512; i++) {
        assert_row(i, clean[i] == 0);
    }
    arena_dispose(&arena);
}

static void texts(void **state)
{
    struct arena *arena = arena_open(*state, PLENTY);
    char *text = NULL;

    assert_string_equal(arena_strdup(arena, str_sub(STR("abcdef"), 2, 4)), "cd");
    assert_string_equal(arena_strdup(arena, (struct str){NULL, 0}), "");
    assert_string_equal(arena_printf(arena, "%s-%d", "x", 5), "x-5");
    text = arena_printf(arena, "%01000d|", 7); /* longer than the stack buffer */
    assert_int_equal(strlen(text), 1001);
    assert_int_equal(text[999], '7');
    arena_dispose(&arena);
    arena = arena_open(*state, 16);
    assert_null(arena_printf(arena, "%s", "0123456789abcdef"));
    assert_null(arena_strdup(arena, STR("0123456789abcdef")));
    assert_string_equal(arena_printf(arena, "%s", "0123456789abcde"), "0123456789abcde");
    arena_dispose(&arena);
}

static void pool_total_bounds_everything(void **state)
{
    struct arena *arena = arena_open(*state, PLENTY);
    struct arena *others[CHUNKS_MAX];
    size_t count = 0;

    assert_non_null(arena_alloc(arena, CHUNK * CHUNKS_MAX / 2 - 1024)); /* half of the total */
    assert_null(arena_alloc(arena, CHUNK * CHUNKS_MAX / 2 - 1024));     /* not twice */
    assert_true(arena_exhausted(arena));
    while (count < CHUNKS_MAX && (others[count] = arena_open(*state, PLENTY)) != NULL) {
        count++;
    }
    assert_int_equal(count, CHUNKS_MAX / 2 - 1);
    assert_int_equal(arena_pool_bytes_used(*state), CHUNK * CHUNKS_MAX);
    arena_dispose(&arena);
    arena = arena_open(*state, PLENTY);
    assert_non_null(arena); /* and room comes back */
    arena_dispose(&arena);
    while (count > 0) {
        arena_dispose(&others[--count]);
    }
    assert_int_equal(arena_pool_bytes_used(*state), 0);
}

/* Kept large mappings must not eat the chunks: they give way when the total is needed. */
static void kept_mappings_give_way(void **state)
{
    struct arena *arena = arena_open(*state, PLENTY);
    struct arena *others[CHUNKS_MAX];
    size_t count = 0;

    assert_non_null(arena_alloc(arena, 2 * CHUNK - 256));
    assert_non_null(arena_alloc(arena, 4 * CHUNK - 256));
    arena_dispose(&arena);
    assert_int_equal(arena_pool_bytes_used(*state), 0);
    while (count < CHUNKS_MAX && (others[count] = arena_open(*state, PLENTY)) != NULL) {
        count++;
    }
    assert_int_equal(count, CHUNKS_MAX);
    assert_null(arena_open(*state, PLENTY));
    while (count > 0) {
        arena_dispose(&others[--count]);
    }
}

struct trail {
    char text[128];
    size_t len;
};

struct hooked {
    struct trail *trail;
    char name;
};

static void leave_trail(void *object)
{
    struct hooked *hooked = object;

    hooked->trail->text[hooked->trail->len++] = hooked->name;
}

static void hooks_run_newest_first(void **state)
{
    struct arena *arena = arena_open(*state, PLENTY);
    struct trail trail = {"", 0};
    struct hooked hooked[26];

    for (size_t i = 0; i < ARRAY_LEN(hooked); i++) {
        hooked[i] = (struct hooked){&trail, (char)('a' + (char)i)};
        assert_true(arena_on_dispose(arena, leave_trail, &hooked[i]));
    }
    assert_int_equal(trail.len, 0);
    arena_dispose(&arena);
    assert_string_equal(trail.text, "zyxwvutsrqponmlkjihgfedcba");
}

/* More hooks than fit into the arena and into one chunk; rewinding must not lose any. */
static void hooks_survive_rewinding(void **state)
{
    struct arena *arena = arena_open(*state, PLENTY);
    struct arena_mark mark = arena_mark(arena);
    struct trail trail = {"", 0};
    struct hooked hooked = {&trail, 'x'};
    size_t count = 0;

    for (size_t i = 0; i < 600; i++) {
        bool kept = arena_on_dispose(arena, leave_trail, &hooked);

        assert_true(kept);
        assert_non_null(arena_alloc(arena, 100));
        if (i % 50 == 0) {
            arena_rewind(arena, mark);
        }
        count = trail.len;
        assert_int_equal(count, 0);
        if (i == ARRAY_LEN(trail.text) - 2) {
            break;
        }
    }
    arena_rewind(arena, mark);
    memset(arena_alloc(arena, 3000), 0xEE, 3000);
    arena_dispose(&arena);
    assert_int_equal(trail.len, ARRAY_LEN(trail.text) - 1);
}

static size_t counted;

static void count_call(void *object)
{
    (void)object;
    counted++;
}

static void hooks_fill_several_chunks(void **state)
{
    struct arena *arena = arena_open(*state, PLENTY);

    counted = 0;
    for (size_t i = 0; i < 1000; i++) {
        assert_true(arena_on_dispose(arena, count_call, arena));
    }
    arena_dispose(&arena);
    assert_int_equal(counted, 1000);
}

static void hook_is_refused_when_the_pool_is_empty(void **state)
{
    struct arena_pool *small = arena_pool_open(CHUNK, 1);
    struct arena *arena = arena_open(small, PLENTY);
    size_t kept = 0;

    (void)state;
    counted = 0;
    while (kept < 1000 && arena_on_dispose(arena, count_call, arena)) {
        kept++;
    }
    assert_in_range(kept, 1, 999);
    assert_true(arena_exhausted(arena));
    arena_dispose(&arena);
    assert_int_equal(counted, kept);
    arena_pool_close(&small);
}

static void rewind_gives_back_chunks_and_large_blocks(void **state)
{
    struct arena *arena = arena_open(*state, PLENTY);
    char *before = arena_strdup(arena, STR("kept"));
    char *large = arena_alloc(arena, 3 * CHUNK);
    struct arena_mark mark = arena_mark(arena);
    size_t used = arena_bytes_used(arena);
    size_t pool_used = arena_pool_bytes_used(*state);
    void *next = NULL;

    memset(large, 'L', 3 * CHUNK);
    for (size_t round = 0; round < 20; round++) {
        void *first = arena_alloc(arena, 100);

        assert_row(round, next == NULL || first == next);
        next = first;
        for (size_t i = 0; i < 20; i++) {
            assert_non_null(arena_alloc(arena, 1000));
        }
        assert_non_null(arena_alloc(arena, 6 * CHUNK));
        arena_rewind(arena, mark);
        assert_row(round, arena_bytes_used(arena) == used);
        assert_row(round, arena_pool_bytes_used(*state) == pool_used);
    }
    assert_string_equal(before, "kept");
    assert_int_equal(large[3 * CHUNK - 1], 'L');
    arena_dispose(&arena);
}

struct live {
    unsigned char *blocks[64];
    size_t sizes[64];
    size_t count;
};

static void take_random(struct arena *arena, struct live *live, uint64_t dice, size_t bytes)
{
    size_t i = live->count;

    live->sizes[i] = bytes % (dice == 0 ? 3 * CHUNK : 300);
    live->blocks[i] = arena_alloc(arena, live->sizes[i]);
    if (live->blocks[i] != NULL) {
        memset(live->blocks[i], (int)i, live->sizes[i]);
        live->count++;
    }
}

static void check_live(const struct live *live)
{
    for (size_t i = 0; i < live->count; i++) {
        size_t size = live->sizes[i];

        assert_row(i, size == 0 || live->blocks[i][0] == (unsigned char)i);
        assert_row(i, size == 0 || live->blocks[i][size - 1] == (unsigned char)i);
    }
}

/* Allocations, a mark and rewinds in random order; the contents of every live block are checked. */
static void use_at_random(struct arena *arena, uint64_t *random)
{
    struct arena_mark mark = arena_mark(arena);
    struct live live = {.count = 0};
    size_t marked = 0;

    for (size_t i = 0; i < ARRAY_LEN(live.blocks); i++) {
        uint64_t dice = random_next(random) % 10;

        take_random(arena, &live, dice, (size_t)random_next(random));
        if (dice == 1) {
            mark = arena_mark(arena);
            marked = live.count;
        } else if (dice == 2) {
            arena_rewind(arena, mark);
            live.count = marked;
        }
    }
    check_live(&live);
}

static void random_use(void **state)
{
    uint64_t random = random_seed();

    for (size_t round = 0; round < 300; round++) {
        struct arena *arena = arena_open(*state, 100000);

        use_at_random(arena, &random);
        arena_dispose(&arena);
        assert_row(round, arena_pool_bytes_used(*state) == 0);
    }
}

static void null_is_disposed_of(void **state)
{
    struct arena *arena = NULL;
    struct arena_pool *pool = NULL;

    (void)state;
    arena_dispose(&arena);
    arena_pool_close(&pool);
}

static void open_refuses_what_cannot_be_mapped(void **state)
{
    (void)state;
    assert_null(arena_pool_open(CHUNK, SIZE_MAX / 2));
    assert_null(arena_pool_open(CHUNK, SIZE_MAX / CHUNK));
}

static void close_with_live_arena(void *argument)
{
    struct arena_pool *pool = arena_pool_open(CHUNK, 2);
    struct arena *arena = arena_open(pool, PLENTY);

    (void)argument;
    (void)arena;
    arena_pool_close(&pool);
}

static void a_leaked_arena_is_found(void **state)
{
    (void)state;
    assert_true(dies(close_with_live_arena, NULL));
}

#ifdef POISON_ENABLED
static void write_after_dispose(void *pool)
{
    struct arena *arena = arena_open(pool, PLENTY);
    volatile char *block = arena_alloc(arena, 32);

    arena_dispose(&arena);
    block[0] = 'x';
}

static void write_after_rewind(void *pool)
{
    struct arena *arena = arena_open(pool, PLENTY);
    struct arena_mark mark = arena_mark(arena);
    volatile char *block = arena_alloc(arena, 32);

    arena_rewind(arena, mark);
    block[0] = 'x';
}

static void write_past_the_end(void *pool)
{
    struct arena *arena = arena_open(pool, PLENTY);
    volatile char *block = arena_alloc(arena, 16);

    block[16] = 'x';
}

static void write_to_large_after_dispose(void *pool)
{
    struct arena *arena = arena_open(pool, PLENTY);
    volatile char *block = arena_alloc(arena, 2 * CHUNK - 256);

    arena_dispose(&arena);
    block[0] = 'x';
}

static void sanitizer_finds_misuse(void **state)
{
    assert_true(dies(write_after_dispose, *state));
    assert_true(dies(write_after_rewind, *state));
    assert_true(dies(write_past_the_end, *state));
    assert_true(dies(write_to_large_after_dispose, *state));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_apart),
        cmocka_unit_test(empty_blocks_have_addresses_of_their_own),
        cmocka_unit_test(cap_is_exact),
        cmocka_unit_test(sizes_near_the_end_of_size_t),
        cmocka_unit_test(calloc_zeroes_used_memory),
        cmocka_unit_test(texts),
        cmocka_unit_test(pool_total_bounds_everything),
        cmocka_unit_test(kept_mappings_give_way),
        cmocka_unit_test(hooks_run_newest_first),
        cmocka_unit_test(hooks_survive_rewinding),
        cmocka_unit_test(hooks_fill_several_chunks),
        cmocka_unit_test(hook_is_refused_when_the_pool_is_empty),
        cmocka_unit_test(rewind_gives_back_chunks_and_large_blocks),
        cmocka_unit_test(random_use),
        cmocka_unit_test(null_is_disposed_of),
        cmocka_unit_test(open_refuses_what_cannot_be_mapped),
        cmocka_unit_test(a_leaked_arena_is_found),
#ifdef POISON_ENABLED
        cmocka_unit_test(sanitizer_finds_misuse),
#endif
    };

    return cmocka_run_group_tests_name("arena", tests, setup, teardown);
}
