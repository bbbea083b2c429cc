#include "tests/support/check.h"

#include "libcommon/codec/network.h"

static void networks_are_read_or_refused(void **state)
{
    static const char *const good[] = {
        "203.0.113.7",
        "203.0.113.7/32",
        "203.0.113.0/24",
        "0.0.0.0/0",
        "2001:db8::/32",
        "::1",
        "::/0",
        "::ffff:10.0.0.1",
        "10.0.0.0/8",
    };
    static const char *const bad[] = {
        "",
        "/",
        "203.0.113",
        "203.0.113.7/33",
        "203.0.113.7/24",
        "203.0.113.256",
        "1.2.3.4/",
        "1.2.3.4/-1",
        "1.2.3.4/ 8",
        "2001:db8::1/32",
        "2001:db8::/129",
        "localhost",
        " 1.2.3.4",
        "1.2.3.4 ",
        "fe80::1%eth0",
        "010.0.0.1/32",
        "1.2.3.4/032",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee",
    };
    struct network network;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!network_parse(str_from(good[i]), &network)) {
            fail_msg("%s was refused", good[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (network_parse(str_from(bad[i]), &network)) {
            fail_msg("%s was taken", bad[i]);
        }
    }
    assert_false(network_parse((struct str){"1.2.3.4\0x", 9}, &network));
}

static void addresses_are_in_networks_or_not(void **state)
{
    static const struct {
        const char *network;
        const char *address;
        bool in;
    } cases[] = {
        {"203.0.113.0/24", "203.0.113.255",    true },
        {"203.0.113.0/24", "203.0.114.0",      false},
        {"203.0.113.7",    "203.0.113.7",      true },
        {"203.0.113.7",    "203.0.113.6",      false},
        {"0.0.0.0/0",      "198.51.100.1",     true },
        {"0.0.0.0/0",      "2001:db8::1",      false},
        {"::/0",           "2001:db8::1",      true },
        {"2001:db8::/33",  "2001:db8:7fff::1", true },
        {"2001:db8::/33",  "2001:db8:8000::1", false},
        {"10.0.0.0/8",     "::ffff:10.1.2.3",  true },
        {"10.0.0.0/8",     "not an address",   false},
    };
    struct network network;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(network_parse(str_from(cases[i].network), &network));
        if (network_contains(&network, str_from(cases[i].address)) != cases[i].in) {
            fail_msg("%s in %s", cases[i].address, cases[i].network);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_are_read_or_refused),
        cmocka_unit_test(addresses_are_in_networks_or_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
