// BufferedReader.readLine, println, flush; each line handled is noted in the log of $SIDE.
import java.io.*;
import java.nio.charset.StandardCharsets;

public class Echo {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        FileOutputStream side = new FileOutputStream(System.getenv("SIDE"), true);
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8");
        String line;
        while ((line = lines.readLine()) != null) {
            out.println(line);
            out.flush();
            side.write((line + "\n").getBytes(StandardCharsets.UTF_8));
        }
    }
}
