/* Which passwords may be used, case by case. */
#include "services/identity/common_passwords.h"
#include "services/identity/password_policy.h"
#include "tests/support/check.h"

#include "libcommon/base/buf.h"

#include <string.h>

#define EMAIL STR("maria.delgado7@correo-azul.mx")
#define NAME  STR("María Fernanda Núñez")

enum verdict {
    GOOD,
    LENGTH,
    COMMON,
    PRODUCT,
    PERSON,
    SEQUENCE
};

static const char *const words[] = {
    NULL, "8 to 128", "most used", "this product", "your name or e-mail", "a sequence"};

static bool says(const char *text, enum verdict verdict)
{
    if (verdict == GOOD || text == NULL) {
        return (verdict == GOOD) == (text == NULL);
    }
    return strstr(text, words[verdict]) != NULL;
}

static const struct {
    const char *password;
    enum verdict verdict;
} cases[] = {
  /* length, in characters */
    {"",                              LENGTH  },
    {"k9#Lw2q",                       LENGTH  },
    {"ñññññññ",                LENGTH  },
    {"ñ9#Lw2qñ",                    GOOD    },
 /* the most common ones, and nearly */
    {"password",                      COMMON  },
    {"PassWord",                      COMMON  },
    {"password1",                     COMMON  },
    {"iloveyou",                      COMMON  },
    {"1qaz2wsx",                      COMMON  },
    {"qwertyuiop",                    COMMON  },
    {"p@ssw0rd",                      COMMON  },
    {"P@ssw0rd!",                     COMMON  },
    {"Dragon123",                     COMMON  },
    {"123Dragon",                     COMMON  },
    {"#1!Dragon#1!",                  COMMON  },
    {"dragon#1!2",                    GOOD    }, /* four signs */
    {"monkeymonkey",                  COMMON  },
    {"monkeymonkey12",                COMMON  },
    {"Contraseña",                   GOOD    }, /* not among the 10,000 of this list */
    {"correct horse",                 GOOD    },
    {"Una clave larga 7",             GOOD    },
    {"Nuevo12345",                    GOOD    },
    {"pdf3a91bc0e72d4415a0c9be1",     GOOD    },
 /* the product */
    {"avanta-avanta",                 PRODUCT },
    {"Avanta2025",                    GOOD    }, /* four digits */
    {"Avanta25",                      PRODUCT },
    {"!!AVANTA!!",                    PRODUCT },
    {"ávántá-1",                   PRODUCT },
    {"avantaavanta",                  PRODUCT },
 /* the person */
    {"maria.delgado7@correo-azul.mx", PERSON  },
    {"MARIA.DELGADO7",                PERSON  },
    {"mariadelgado7",                 PERSON  },
    {"delgado7",                      PERSON  },
    {"Maria123",                      COMMON  },
    {"mariamaria",                    PERSON  },
    {"Fernanda",                      PERSON  },
    {"fernanda99",                    PERSON  },
    {"nunez123",                      PERSON  },
    {"NÚÑEZ#25",                    PERSON  },
    {"maria fernanda nunez",          PERSON  },
    {"MaríaFernandaNúñez1",        PERSON  },
    {"correo-azul",                   GOOD    }, /* two parts that are not a name */
    {"correo#25",                     PERSON  },
    {"mariposa nocturna",             GOOD    },
    {"fernandito dice",               GOOD    },
 /* sequences and repetitions */
    {"aaaaaaaa",                      SEQUENCE},
    {"ÑÑÑÑÑÑÑÑ",              SEQUENCE},
    {"22448866x",                     GOOD    },
    {"hgfedcba",                      SEQUENCE},
    {"jklmnopqr",                     SEQUENCE},
    {"xyxyxyxyxy",                    SEQUENCE},
    {"k9#k9#k9#",                     SEQUENCE},
    {"k9#wk9#w",                      GOOD    },
};

static void each_case_has_its_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *fault = password_check(str_from(cases[i].password), EMAIL, NAME);

        if (!says(fault, cases[i].verdict)) {
            print_error("%s: %s\n", cases[i].password, fault == NULL ? "good" : fault);
        }
        assert_row(i, says(fault, cases[i].verdict));
    }
}

static void nobody_in_particular(void **state)
{
    (void)state;
    assert_null(password_check(STR("delgado7"), STR_EMPTY, STR_EMPTY));
    assert_non_null(password_check(STR("password"), STR_EMPTY, STR_EMPTY));
    assert_null(password_check(STR("pd!!ab!!"), STR("a@b.mx"), STR("Ab"))); /* too short a part */
}

static void the_bounds_are_exact(void **state)
{
    char memory[PASSWORD_CHARACTERS_MAX * 2 + 4];
    struct buf b = buf_over(memory, sizeof memory);

    (void)state;
    for (int i = 0; i < PASSWORD_CHARACTERS_MAX; i++) {
        buf_text(&b, i % 5 == 0 ? "ñ" : i % 3 == 0 ? "x" : "7");
    }
    assert_null(password_check(buf_view(&b), EMAIL, NAME));
    buf_char(&b, 'y');
    assert_true(says(password_check(buf_view(&b), EMAIL, NAME), LENGTH));
    assert_true(says(password_check(STR("\xff\xfe long enough"), EMAIL, NAME), LENGTH));
}

static struct str common(uint32_t i)
{
    return (struct str){common_password_text + common_password_at[i],
                        common_password_at[i + 1] - common_password_at[i]};
}

static void every_common_password_is_refused(void **state)
{
    uint32_t long_ones = 0;

    (void)state;
    assert_in_range(common_password_count, 9990, 10000); /* lower case makes a few the same */
    for (uint32_t i = 0; i < common_password_count; i++) {
        if (i > 0) {
            assert_row(i, str_cmp(common(i - 1), common(i)) < 0);
        }
        if (common(i).len >= PASSWORD_CHARACTERS_MIN) {
            long_ones++;
            assert_row(i, password_check(common(i), EMAIL, NAME) != NULL);
        }
    }
    assert_true(long_ones > 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_case_has_its_sentence),
        cmocka_unit_test(nobody_in_particular),
        cmocka_unit_test(the_bounds_are_exact),
        cmocka_unit_test(every_common_password_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
