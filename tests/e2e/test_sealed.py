"""Nothing of what is kept can be read in the vault: names, content, sources, excludes."""
import base64
import os

from harness import Case, main, write

MARKS = ["WardSevenDirectory", "PatientListName", "TheContentOfThatFile", "SourceOfTheWard",
         "LeftOutPattern", "LinkTargetMark", "AttributeValueMark"]


class Sealed(Case):
    @classmethod
    def prepare(cls):
        cls.good("init", "vault", "--key-file", "key")
        write("tree/WardSevenDirectory/PatientListName.csv", "TheContentOfThatFile\n" * 1000)
        write("tree/WardSevenDirectory/PatientListName.small", "TheContentOfThatFile")
        os.symlink("LinkTargetMark", "tree/link")
        try:
            os.setxattr("tree/link", "user.mark", b"AttributeValueMark", follow_symlinks=True)
        except OSError:
            pass  # the link leads nowhere, or this file system has no attributes
        for _ in range(2):
            cls.good("--vault", "vault", "backup", "--source", "SourceOfTheWard", "--exclude",
                     "LeftOutPattern", "tree")

    def test_no_mark_is_in_any_byte_of_the_vault(self):
        seen = 0
        for folder, _, names in os.walk("vault"):
            for name in names:
                seen += 1
                with open(os.path.join(folder, name), "rb") as file:
                    content = file.read()
                for mark in MARKS:
                    for form in (mark.encode(), mark.encode().hex().encode(),
                                 mark.encode("utf-16-le"), base64.b64encode(mark.encode())[:-4]):
                        self.assertNotIn(form, content, (folder, name, mark))
                        self.assertNotIn(form, os.path.join(folder, name).encode())
        self.assertGreater(seen, 8)

    def test_the_marks_come_back_with_the_key(self):
        text = self.good("--vault", "vault", "--key", "key", "ls", "-R", "latest:SourceOfTheWard")
        self.assertIn("WardSevenDirectory/PatientListName.csv", text)

    def test_files_of_the_vault_are_for_their_owner_only(self):
        for folder, _, names in os.walk("vault"):
            for name in names:
                self.assertEqual(os.stat(os.path.join(folder, name)).st_mode & 0o077, 0, name)
            self.assertEqual(os.stat(folder).st_mode & 0o077, 0, folder)


if __name__ == "__main__":
    main()
