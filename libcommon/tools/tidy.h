#pragma once
/*
 * Inside of tidy, the style program: a C file as text, as code without comments and literals, and
 * as a list of what it declares at file scope. Read once, never given back. Our own formatting is
 * assumed (clang-format has its own check), not C in general.
 */

#include "libcommon/base/str.h"
#include "libcommon/tools/host.h"

enum tidy_kind {
    TIDY_FUNCTION,  /* with its body */
    TIDY_PROTOTYPE, /* of a function */
    TIDY_OBJECT,    /* a variable, declared or defined */
    TIDY_OTHER      /* types, assertions, macros that declare */
};

struct tidy_declaration {
    enum tidy_kind kind;
    const char *name; /* of functions and objects */
    size_t first;     /* lines, from 1 */
    size_t last;
    bool is_static;
    bool is_extern;
    bool is_const;
};

/* A comment with "tidy:" and "allow RULE: reason": for its line, or for the next one when it stands
 * alone; "allow RULE here: reason" is for the whole file. */
struct tidy_allowance {
    const char *rule;
    size_t line; /* 0: the whole file */
    size_t written;
    bool used;
};

struct tidy_file {
    const char *path; /* from the root of the tree */
    struct str text;
    char *code;     /* the text with comments, literals and directives as blanks */
    char *macros;   /* the same with the directives */
    size_t *starts; /* of the lines, one more than there are */
    bool *tables;   /* by line - 1: inside the braces of an initialiser */
    size_t line_count;
    struct tidy_declaration *declarations;
    size_t declaration_count;
    struct tidy_allowance *allowances;
    size_t allowance_count;
    struct str *words; /* of the code and its directives, sorted; by the tree's rules */
    size_t word_count;
    bool header;
    bool own;       /* its rules are checked; generated code only uses what others export */
    bool built;     /* some program is made of it */
    size_t asserts; /* counted by the rules */
};

struct tidy_tree {
    struct tidy_file *files;
    size_t count;
    size_t complaints;
    size_t allowances; /* that were needed */
};

/* What a rule says about a line; silent where the line or the file allows it. */
void tidy_complain(struct tidy_tree *tree,
                   struct tidy_file *file,
                   size_t line,
                   const char *rule,
                   const char *fmt,
                   ...) PRINTF(5, 6);

/* tidy_scan.c: text to code, lines and allowances. */
void tidy_scan(struct tidy_file *file);
struct str tidy_line(const struct tidy_file *file, size_t line); /* without its end */
size_t tidy_line_of(const struct tidy_file *file, size_t at);
bool tidy_word_char(char c);
bool tidy_starts(const char *text, const char *start);
/* The next identifier of the code from *at on, *at moved behind it; false at the end. */
bool tidy_word_next(const char *code, size_t *at, struct str *out);
bool tidy_is(struct str word, const char *text);

/* tidy_declare.c: code to declarations. */
void tidy_declare(struct tidy_file *file);

/* tidy_rules.c: what one file alone can break. */
bool tidy_is_production(const struct tidy_file *file); /* neither test nor host tool */
void tidy_check_file(struct tidy_tree *tree, struct tidy_file *file);
/* tidy_tree.c: what only the whole tree shows; prints the table of figures. */
void tidy_check_tree(struct tidy_tree *tree);
