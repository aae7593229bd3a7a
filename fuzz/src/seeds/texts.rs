//! Inputs that are text: target, file, content.

/// All of them. The first character of an HTTP input chooses the request: space and `@` for a
/// plain GET, others by their bits.
pub(super) const ALL: &[(&str, &str, &str)] = &[
    (
        "ftp_replies",
        "transfer",
        "220-ready\r\n for you\r\n220 now\r\n331 password?\r\n230 in\r\n213 5\r\n\
         229 Entering Extended Passive Mode (|||6446|)\r\n150 here\r\n226 done\r\n",
    ),
    (
        "ftp_replies",
        "passive",
        "227 Entering Passive Mode (192,168,1,1,25,46).\r\n550 no\r\n",
    ),
    (
        "http_client",
        "length",
        "\0HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "http_client",
        "chunked",
        "\0HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    ),
    (
        "http_client",
        "until-close",
        "\0HTTP/1.0 200 OK\r\n\r\nto the end",
    ),
    (
        "http_client",
        "kept",
        "\0HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\u{1f}\u{1f}HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes",
    ),
    (
        "http_client",
        "resumed",
        "\0HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 6\r\n\r\nabc\u{1e}\
         HTTP/1.1 206 Part\r\nETag: \"a\"\r\nContent-Range: bytes 3-5/6\r\nContent-Length: 3\r\n\r\ndef",
    ),
    (
        "http_client",
        "restarted",
        "\0HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Content-Length: 6\r\n\r\nabc\u{1e}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxy",
    ),
    (
        "http_client",
        "part",
        "\u{4}HTTP/1.1 206 Part\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\ncde",
    ),
    (
        "http_client",
        "part-of-part",
        "\u{4}HTTP/1.1 206 Part\r\nETag: \"a\"\r\nContent-Range: bytes 2-3/10\r\nContent-Length: 2\r\n\r\ncd\u{1e}\
         HTTP/1.1 206 Part\r\nContent-Range: bytes 4-4/10\r\nContent-Length: 1\r\n\r\ne",
    ),
    (
        "http_client",
        "redirected",
        "\u{10}HTTP/1.1 302 Found\r\nLocation: //other/y?z\r\nContent-Length: 0\r\n\r\n\u{1e}\
         HTTP/1.1 301 Moved\r\nLocation: http://boot.example/z\r\n\r\n\u{1e}HTTP/1.1 200 OK\r\n\r\nx",
    ),
    (
        "http_client",
        "insecure",
        "\u{8}HTTP/1.1 302 Found\r\nLocation: http://boot.example/y\r\n\r\n\u{1e}HTTP/1.1 200 OK\r\n\r\nx",
    ),
    (
        "http_client",
        "basic",
        "\u{10}HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n\u{1e}\
         HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "http_client",
        "digest",
        "\u{10}HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"y\", qop=\"auth,auth-int\", \
         opaque=\"\\\"\", algorithm=SHA-256-sess, userhash=true, Basic realm=z\r\n\r\n\u{1e}\
         HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=x, nonce=z, stale=true\r\n\r\n\u{1e}\
         HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "http_client",
        "later",
        "\0HTTP/1.1 503 Busy\r\nRetry-After: 3\r\n\r\n\u{1e}HTTP/1.1 429 Slow\r\nDate: Sun Nov  6 08:49:37 1994\r\n\
         Retry-After: Sunday, 06-Nov-94 08:49:40 GMT\r\n\r\n\u{1e}HTTP/1.1 200 OK\r\n\r\nx",
    ),
    (
        "http_client",
        "head",
        "\u{2}HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
    ),
    (
        "http_client",
        "post",
        "\u{1}HTTP/1.1 307 Again\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n\u{1e}\
         HTTP/1.1 303 See\r\nLocation: /z\r\n\r\n\u{1e}HTTP/1.1 100 Go\r\n\r\n\u{1f}HTTP/1.1 201 Made\r\n\r\nx",
    ),
    ("url", "plain", "http://192.168.1.1/boot.ipxe\nkernel"),
    (
        "url",
        "full",
        "https://user:pass@boot.example:8443/a/b;c?d=e#f\n../../g?h",
    ),
    ("url", "ipv6", "http://[fd00::1]:81/\n//[fd00::2]/x"),
    ("url", "spaces", "HTTP://Boot.Example/a b\r\nX: y"),
    ("uri", "plain", "http://192.168.1.1/boot.ipxe\nkernel?x"),
    (
        "uri",
        "full",
        "https://user:long-password@boot.example:8443/a/./b;c?d=e#f##params\n../../g?h",
    ),
    (
        "uri",
        "iscsi",
        "iscsi:192.168.1.1:6:3260:1:iqn.2000-01.com.example:disk1\n/x",
    ),
    (
        "uri",
        "iscsi-ipv6",
        "iscsi:[fd00::1]::::iqn.2000-01.com.example:disk1\n",
    ),
    ("uri", "relative", "a b/%2e%2e/\u{e9}\n?q"),
    ("uri", "zone", "tftp://[fe80::1%25eth0]/x\n//h"),
    (
        "script",
        "boot",
        "#!ipxe\nset name value with ${buildarch}\n:retry\ndhcp net0 || goto retry\nisset ${name} && echo ${name} || exit 1\n\
         sanboot --drive 0x80 ${root-path} ; shell\n",
    ),
    (
        "script",
        "loop",
        "#!ipxe\n:a\ninc n\nset x ${n:hexhyp}${x}\ngoto a\n",
    ),
    (
        "script",
        "quotes",
        "#!ipxe\necho 'a ${b}' \"c \\\n d\" # comment\nset a ${${b}}\nset b ${a:uristring}\necho ${a}${b} && || ;\n",
    ),
    (
        "script",
        "exits",
        "#!ipxe\nexit ||\ngoto nowhere || set x y\nexit 1\n",
    ),
    (
        "script_settings",
        "types",
        "a:ipv4=192.168.1.1\nb:hex=01:02:ff\nc:uuid=00010203-0405-0607-0809-0a0b0c0d0e0f\nd:int32=-5\ne:base64=AAEC\n\
         f:uristring=a%20b\nnet0/g:hexraw=0aff\n175.190:int8=1\n${a} ${b:hexhyp} ${net0/g} ${175.190}\n",
    ),
    (
        "script_settings",
        "nested",
        "a=${b}\nb=${a}\nc=1\n${${a}} ${c:string:hex} ${net0.dhcp/17:string} ${}\n",
    ),
];
