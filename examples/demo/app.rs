//! The tiny web app of the story: busybox's web server, one page, one test. Each version is given as the files
//! that its commit changes.

/// What a commit writes, and its message.
pub struct Commit {
    /// The first line of the message.
    pub message: &'static str,
    /// The changed files: path and whole content.
    pub files: &'static [(&'static str, &'static str)],
}

/// A page, a start script, a Dockerfile, and a test that asks for the page.
pub const OPEN_THE_SHOP: Commit = Commit {
    message: "Open the shop",
    files: &[
        ("Dockerfile", DOCKERFILE),
        ("start.sh", "#!/bin/sh\necho the shop is open\nexec httpd -f -p 8080 -h /shop\n"),
        ("shop/index.html", "<h1>Good morning!</h1>\n<p>Today: bread.</p>\n"),
        ("test.sh", TEST),
    ],
};

/// The greeting is misspelt, which the test sees.
pub const MISSPELL_THE_GREETING: Commit = Commit {
    message: "Sell cake as well",
    files: &[("shop/index.html", "<h1>Godo morning!</h1>\n<p>Today: bread and cake.</p>\n")],
};

/// The greeting is right again, but the start waits for a file that only its developer has.
pub const WAIT_FOR_A_FILE: Commit = Commit {
    message: "Spell the greeting right, and read the opening hours",
    files: &[
        ("shop/index.html", "<h1>Good morning!</h1>\n<p>Today: bread and cake.</p>\n"),
        (
            "start.sh",
            "#!/bin/sh\nuntil test -e /data/opening-hours; do\n  echo waiting for /data/opening-hours\n  sleep 1\n\
             done\nexec httpd -f -p 8080 -h /shop\n",
        ),
    ],
};

/// All is well.
pub const DO_WITHOUT_THE_FILE: Commit = Commit {
    message: "Be always open where there are no opening hours",
    files: &[(
        "start.sh",
        "#!/bin/sh\ntest -e /data/opening-hours || echo no opening hours: always open\n\
         exec httpd -f -p 8080 -h /shop\n",
    )],
};

const DOCKERFILE: &str = "FROM hp-base:1\n\
                          COPY shop /shop\n\
                          COPY start.sh /start.sh\n\
                          EXPOSE 8080\n\
                          CMD [\"sh\", \"/start.sh\"]\n";

const TEST: &str = r#"#!/bin/sh
httpd -p 127.0.0.1:8081 -h shop
page=$(wget -q -O - http://127.0.0.1:8081/)
case $page in
  *"Good morning"*) echo "ok: the page greets" ;;
  *) echo "FAILED: the page should say Good morning, but says:"; echo "$page"; exit 1 ;;
esac
"#;
