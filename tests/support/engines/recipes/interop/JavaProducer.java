import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.avro.Schema;
import org.apache.avro.data.TimeConversions;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Writes requests as a Java team would: Kafka's own client with its own partitioner, and Avro's own encoders.
 *
 * <p>Arguments: bootstrap, topic, schema file, id of the schema in a registry. On standard input a request a line, its
 * fields separated by tabs: framing (single or registry), target, requestId, eventDate, startsAt, endsAt, title, owner,
 * requestedAt (times in milliseconds since 1970). For each it prints partition and offset.
 */
public class JavaProducer {
  public static void main(String[] arguments) throws Exception {
    String topic = arguments[1];
    Schema schema = new Schema.Parser().parse(Path.of(arguments[2]).toFile());
    int id = Integer.parseInt(arguments[3]);
    GenericData model = new GenericData();
    model.addLogicalTypeConversion(new TimeConversions.TimestampMillisConversion());
    BinaryMessageEncoder<GenericRecord> single = new BinaryMessageEncoder<>(model, schema);

    Properties options = new Properties();
    options.put("bootstrap.servers", arguments[0]);
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    try (var producer = new KafkaProducer<>(options, new StringSerializer(), new ByteArraySerializer())) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        String[] field = line.split("\t", -1);
        GenericRecord record = request(schema, field);
        byte[] value = field[0].equals("single") ? bytes(single.encode(record)) : framed(id, schema, model, record);
        sent.add(producer.send(new ProducerRecord<>(topic, field[1], value)));
      }
      for (Future<RecordMetadata> one : sent) {
        out.println(one.get().partition() + "\t" + one.get().offset());
      }
    }
    out.flush();
  }

  private static GenericRecord request(Schema schema, String[] field) {
    return new GenericRecordBuilder(schema)
        .set("action", new GenericData.EnumSymbol(schema.getField("action").schema(), "SCALE_OUT"))
        .set("target", field[1])
        .set("requestId", field[2])
        .set("eventDate", field[3])
        .set("startsAt", instant(field[4]))
        .set("endsAt", instant(field[5]))
        .set("title", field[6])
        .set("owner", field[7])
        .set("requestedAt", instant(field[8]))
        .build();
  }

  private static Instant instant(String millis) {
    return Instant.ofEpochMilli(Long.parseLong(millis));
  }

  /** As Confluent's serialisers do: a zero, the id, the body. */
  private static byte[] framed(int id, Schema schema, GenericData model, GenericRecord record) throws Exception {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    DataOutputStream header = new DataOutputStream(out);
    header.writeByte(0);
    header.writeInt(id);
    BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(out, null);
    new GenericDatumWriter<GenericRecord>(schema, model).write(record, encoder);
    encoder.flush();
    return out.toByteArray();
  }

  private static byte[] bytes(ByteBuffer buffer) {
    byte[] found = new byte[buffer.remaining()];
    buffer.get(found);
    return found;
  }
}
