#include "tests/support/certificates.h"

#include "libcommon/base/attr.h"

#include <dirent.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 320
#define DAY_S      86400

static char directory[64];
static pid_t owner;

static void need(bool good, const char *what)
{
    if (!good) {
        (void)fprintf(stderr, "certificates: %s\n", what);
        exit(1);
    }
}

static void remove_all(void)
{
    DIR *listing = owner == getpid() ? opendir(directory) : NULL;
    char path[PATH_BYTES];

    if (listing == NULL) {
        return;
    }
    for (const struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        (void)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] != '.') {
            (void)unlink(path);
        }
    }
    (void)closedir(listing);
    (void)rmdir(directory);
}

const char *certificate_path(const char *name, const char *ending)
{
    static char paths[8][PATH_BYTES];
    static size_t next;
    char *path = paths[next++ % ARRAY_LEN(paths)];

    if (directory[0] == '\0') {
        (void)snprintf(directory, sizeof(directory), "/tmp/certificates-XXXXXX");
        need(mkdtemp(directory) != NULL && chmod(directory, 0755) == 0, "no directory");
        owner = getpid();
        need(atexit(remove_all) == 0, "atexit is refused");
    }
    (void)snprintf(path, PATH_BYTES, "%s/%s.%s", directory, name, ending);
    return path;
}

static FILE *opened(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);

    need(file != NULL, path);
    return file;
}

static void extend(X509 *certificate, X509 *issuer, int kind, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension = NULL;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    need(extension != NULL && X509_add_ext(certificate, extension, -1) == 1, value);
    X509_EXTENSION_free(extension);
}

/* Everything but issuer and signature. */
static X509 *unsigned_certificate(const struct certificate *spec, EVP_PKEY *key)
{
    static long serial;
    const unsigned char *name = (const unsigned char *)spec->name;
    X509 *certificate = X509_new();

    need(certificate != NULL && X509_set_version(certificate, 2) == 1, "no certificate");
    serial++;
    need(ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial) == 1, "no serial number");
    need(X509_gmtime_adj(X509_getm_notBefore(certificate), -(long)DAY_S) != NULL &&
             X509_gmtime_adj(X509_getm_notAfter(certificate), (long)spec->until_s) != NULL,
         "no dates");
    need(X509_set_pubkey(certificate, key) == 1, "no key");
    need(X509_NAME_add_entry_by_txt(
             X509_get_subject_name(certificate), "CN", MBSTRING_ASC, name, -1, -1, 0) == 1,
         "no name");
    return certificate;
}

static void sign(const struct certificate *spec, X509 *certificate, EVP_PKEY *key)
{
    X509 *issuer = certificate;
    EVP_PKEY *signer = key;

    if (spec->issuer != NULL) {
        FILE *file = opened(certificate_path(spec->issuer, "pem"), "r");
        issuer = PEM_read_X509(file, NULL, NULL, NULL);
        (void)fclose(file);
        file = opened(certificate_path(spec->issuer, "key"), "r");
        signer = PEM_read_PrivateKey(file, NULL, NULL, NULL);
        (void)fclose(file);
        need(issuer != NULL && signer != NULL, "no issuer");
    }
    need(X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1, "no issuer");
    extend(certificate,
           issuer,
           NID_basic_constraints,
           spec->issuer == NULL ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (spec->hosts != NULL) {
        extend(certificate, issuer, NID_subject_alt_name, spec->hosts);
    }
    need(X509_sign(certificate, signer, EVP_sha256()) > 0, "no signature");
    if (spec->issuer != NULL) {
        X509_free(issuer);
        EVP_PKEY_free(signer);
    }
}

void certificate_make(const struct certificate *spec)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = NULL;
    FILE *file = NULL;

    need(key != NULL, "no key");
    certificate = unsigned_certificate(spec, key);
    sign(spec, certificate, key);
    file = opened(certificate_path(spec->name, "pem"), "w");
    need(PEM_write_X509(file, certificate) == 1 && fclose(file) == 0, "not written");
    file = opened(certificate_path(spec->name, "key"), "w");
    need(chmod(certificate_path(spec->name, "key"), 0600) == 0, "chmod");
    need(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(file) == 0,
         "not written");
    X509_free(certificate);
    EVP_PKEY_free(key);
}
